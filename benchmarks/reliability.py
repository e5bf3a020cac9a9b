"""How often figures that are given a probability of several panels have them: tables, and a picture of both of them.

The picture, docs/images/panel_scores.png, shows what panels.py found on drawn figures and real_panels.py on real ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from report import RESULTS
from scipy.stats import beta

DRAWN, REAL = "panel_scores", "real_panel_scores"
SHOWN = {DRAWN: ("drawn figures", "#1f77b4"), REAL: ("real figures", "#d62728")}
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "panel_scores.png"
_ENDS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
_TELLS = "mean probability", "share with several panels", "figures"


def reliability(probabilities: Sequence[float], several: Sequence[bool]) -> list[dict[str, object]]:
    """How often figures of a probability really have several panels."""
    rows, p, is_several = [], np.array(probabilities), np.array(several)
    for low, high in pairwise(_ENDS):
        within = (p >= low) & ((p < high) | (high == 1.0))
        if within.any():
            rows.append(
                {
                    "probability": f"{low:.2f} to {high:.2f}",
                    "figures": int(within.sum()),
                    "mean probability": round(float(p[within].mean()), 3),
                    "share with several panels": round(float(is_several[within].mean()), 3),
                }
            )
    return rows


def draw_scores() -> None:
    """Draw the picture from the results that are there; bars are intervals of 95 % (Jeffreys)."""
    if not PICTURE.parent.is_dir():
        return
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color="#999", linewidth=1, linestyle="--")
    for name, (label, color) in SHOWN.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            p, share, n = np.array([[row[tell] for tell in _TELLS] for row in json.loads(path.read_text())["rows"]]).T
            hits = share * n
            low, high = (beta.ppf(end, hits + 0.5, n - hits + 0.5) for end in (0.025, 0.975))
            reach = np.maximum([share - low, high - share], 0)
            panel.errorbar(p, share, reach, color=color, marker="o", capsize=2, label=f"{label} ({n.sum():.0f})")
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    panel.set_xlabel("probability of several panels")
    panel.set_ylabel("share that has several panels")
    panel.legend(loc="upper left")
    figure.savefig(PICTURE, dpi=110)
