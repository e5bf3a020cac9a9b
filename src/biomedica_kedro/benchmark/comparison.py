"""Paired comparison of models: do they differ on the same samples, task by task and over the suite?

The bootstrap needs only how often each value of the paired difference occurs (-1, 0, +1), or the distinct differences
of groups. P-values over many tasks are corrected by Holm's method.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark.bootstrap import interval_of, resample_counts
from biomedica_kedro.benchmark.metrics import Floats

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
SUITE = "suite mean"
COLUMNS = (
    "model_a", "model_b", "task", "samples", "difference", "ci_low", "ci_high", "p_value", "p_holm", "verdict", "n",
)  # fmt: skip


def compare_predictions(
    predictions: pd.DataFrame, samples: Mapping[str, str], *, n_resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Every pair of models on every task both answered, and on the mean over those tasks.

    Args:
        predictions: rows of `classification.PREDICTIONS` under one prompt set.
        samples: task -> "real" or "synthetic"; the two have suite means of their own.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.
    Returns:
        Columns `COLUMNS`; difference is accuracy of model_a minus that of model_b; verdict is win, tie or loss of
        model_a by the Holm-corrected p-value.
    """
    import pandas as pd

    if predictions.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    wide = predictions.pivot_table(
        index=["task", "sample_id", "group_id"], columns="model_id", values="correct", aggfunc="first", dropna=False
    )
    rows: list[dict[str, object]] = []
    for model_a, model_b in combinations(sorted(wide.columns), 2):
        both = wide[[model_a, model_b]].dropna()
        for kind in sorted(set(samples.values())):
            lines: list[dict[str, object]] = []
            resampled: list[tuple[float, Floats]] = []
            for task, part in both.groupby(level="task", sort=True):
                if samples.get(str(task)) != kind:
                    continue
                difference_N = (part[model_a] - part[model_b]).to_numpy()
                value, drawn_R = paired_difference(
                    difference_N, _groups(part), n_resamples=n_resamples, seed=seed + len(lines)
                )
                lines.append(_line(str(task), value, drawn_R, len(part)))
                resampled.append((value, drawn_R))
            if lines:
                head = {"model_a": model_a, "model_b": model_b, "samples": kind}
                total_R = np.mean([drawn for _, drawn in resampled], axis=0)
                mean = float(np.mean([value for value, _ in resampled]))
                rows += [{**head, **line} for line in _corrected(lines)]
                rows += [{**head, **line} for line in _corrected([_line(SUITE, mean, total_R, len(both))])]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def paired_difference(
    difference_N: Floats, groups: npt.NDArray[np.str_] | None, *, n_resamples: int, seed: int
) -> tuple[float, Floats]:
    """Mean difference and its bootstrap distribution."""
    distinct, cell_N = np.unique(difference_N, return_inverse=True)
    counts_RC = resample_counts(cell_N, len(distinct), group_N=groups, n_resamples=n_resamples, seed=seed)
    return float(difference_N.mean()), counts_RC @ distinct / counts_RC.sum(1)


def _groups(part: pd.DataFrame) -> npt.NDArray[np.str_] | None:
    groups = part.index.get_level_values("group_id").to_numpy(dtype=str)
    if not (groups != "").any():
        return None
    return np.where(groups == "", part.index.get_level_values("sample_id").to_numpy(dtype=str), groups)


def _line(task: str, value: float, drawn_R: Floats, n: int) -> dict[str, object]:
    """One comparison; the two-sided p-value counts resamples on the other side of no difference."""
    interval = interval_of(value, drawn_R)
    at_most, at_least = (1 + np.count_nonzero(drawn_R <= 0)), (1 + np.count_nonzero(drawn_R >= 0))
    p_value = min(1.0, 2 * min(at_most, at_least) / (len(drawn_R) + 1))
    return {
        "task": task, "difference": value, "ci_low": interval.low, "ci_high": interval.high, "p_value": p_value, "n": n,
    }  # fmt: skip


def _corrected(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    from statsmodels.stats.multitest import multipletests

    is_significant, p_holm, _, _ = multipletests([line["p_value"] for line in lines], alpha=ALPHA, method="holm")
    return [
        {**line, "p_holm": float(p), "verdict": _verdict(float(str(line["difference"])), bool(significant))}
        for line, p, significant in zip(lines, p_holm, is_significant, strict=True)
    ]


def _verdict(difference: float, is_significant: bool) -> str:
    if not is_significant:
        return "tie"
    return "win" if difference > 0 else "loss"
