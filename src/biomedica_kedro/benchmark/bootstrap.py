"""Percentile bootstrap intervals, by group where rows are not independent, and paired differences between models.

A statistic that depends only on how many rows fall into each of k cells (accuracy, balanced accuracy, F1, kappa, paired
difference) needs no rows to be drawn: one multinomial draw over the cells is the same distribution, at any number of
rows. With groups (patients, slides) the cells are the distinct group profiles. Shapes: N rows, R resamples, C cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark.metrics import Floats, Integers

LEVEL = 0.95
_ROWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its 95 % interval; NaN bounds where the data allow none."""

    value: float
    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high


def resample_counts(
    cell_N: Integers, n_cells: int, *, group_N: npt.NDArray[np.str_] | None, n_resamples: int, seed: int
) -> Floats:
    """Cell counts of each resample, R x C: rows are drawn with replacement, or whole groups where groups are given."""
    rng = np.random.default_rng(seed)
    if group_N is None:
        counts = np.bincount(cell_N, minlength=n_cells)
        return rng.multinomial(len(cell_N), counts / len(cell_N), size=n_resamples).astype(float)
    groups, member_N = np.unique(group_N, return_inverse=True)
    used, used_N = np.unique(cell_N, return_inverse=True)
    profile_GU = np.zeros((len(groups), len(used)))
    np.add.at(profile_GU, (member_N, used_N), 1)
    distinct_PU, multiplicity_P = np.unique(profile_GU, axis=0, return_counts=True)
    drawn_RP = rng.multinomial(len(groups), multiplicity_P / len(groups), size=n_resamples)
    counts_RC = np.zeros((n_resamples, n_cells))
    counts_RC[:, used] = drawn_RP @ distinct_PU
    return counts_RC


def resample_weights(
    n_rows: int, *, group_N: npt.NDArray[np.str_] | None, n_resamples: int, seed: int
) -> Iterator[Floats]:
    """How often each row is drawn in each resample, in chunks of R x N, for statistics that need the rows."""
    rng = np.random.default_rng(seed)
    member_N = np.arange(n_rows) if group_N is None else np.unique(group_N, return_inverse=True)[1]
    n_groups = int(member_N.max()) + 1
    chunk = max(1, min(n_resamples, _ROWS_AT_ONCE // n_rows))
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size)
        yield drawn[:, member_N].astype(float)


def interval_of(value: float, resampled_R: Floats) -> Interval:
    """The percentile interval around a value."""
    usable = resampled_R[~np.isnan(resampled_R)]
    if not len(usable):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def mean_interval(
    value_N: Floats, *, group_N: npt.NDArray[np.str_] | None = None, n_resamples: int = 2000, seed: int = 0
) -> Interval:
    """Interval of a mean of values that take few distinct values (right or wrong, a recall at k)."""
    distinct, cell_N = np.unique(value_N, return_inverse=True)
    counts = resample_counts(cell_N, len(distinct), group_N=group_N, n_resamples=n_resamples, seed=seed)
    return interval_of(float(np.mean(value_N)), counts @ distinct / counts.sum(1))


def interval_over_rows(
    statistic: Callable[[Floats], Floats],
    n_rows: int,
    *,
    group_N: npt.NDArray[np.str_] | None,
    n_resamples: int,
    seed: int,
) -> Interval:
    """Interval of a statistic of row weights.

    Args:
        statistic: R x N weights -> R values.
        n_rows: number of rows.
        group_N: group of each row, if rows are not independent.
        n_resamples: number of resamples.
        seed: of the draws.
    """
    chunks = [
        statistic(weights) for weights in resample_weights(n_rows, group_N=group_N, n_resamples=n_resamples, seed=seed)
    ]
    return interval_of(float(statistic(np.ones((1, n_rows)))[0]), np.concatenate(chunks))
