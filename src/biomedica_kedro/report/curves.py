"""Curves of a training as SVG: the page needs no script, and shows them wherever it is opened."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa

_INCHES = (4.4, 3.0)
_LEGEND_SIZE = 7


def training_curves(history: pa.Table) -> str:
    """Loss, learning rate and validation retrieval over the steps, side by side.

    Args:
        history: `clip.run.HISTORY`.
    """
    retrieval = [name for name in history.column_names if name.startswith("validation/") and "R_at" in name]
    return svg_of(history, {"loss": ["loss"], "learning rate": ["learning_rate"], "validation retrieval": retrieval})


def svg_of(history: pa.Table, panels: Mapping[str, Sequence[str]]) -> str:
    """One panel a title with a line a column; values that are null are passed over. Same table, same text.

    Args:
        history: a column `step`, and those that are drawn.
        panels: columns by title.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES[0] * len(panels), _INCHES[1]), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name in names:
            rows = zip(history["step"].to_pylist(), history[name].to_pylist(), strict=True)
            points = [(step, value) for step, value in rows if value is not None]
            marker = "o" if 0 < len(points) < 20 else ""
            axes.plot([x for x, _ in points], [y for _, y in points], label=name, marker=marker, markersize=3)
        axes.set(title=title, xlabel="step")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        if len(names) > 1:
            axes.legend(fontsize=_LEGEND_SIZE)
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "biomedica", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]
