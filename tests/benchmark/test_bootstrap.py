from __future__ import annotations

import numpy as np
import pytest

from biomedica_kedro.benchmark.bootstrap import (
    interval_over_rows,
    mean_interval,
    resample_counts,
    resample_weights,
)


def test_interval_covers_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(7)
    truth, n, repeats = 0.7, 200, 1500
    hits = sum(
        mean_interval((rng.random(n) < truth).astype(float), n_resamples=1000, seed=repeat).contains(truth)
        for repeat in range(repeats)
    )
    assert 0.93 <= hits / repeats <= 0.97


def test_counting_cells_equals_drawing_rows() -> None:
    correct = (np.random.default_rng(0).random(500) < 0.6).astype(float)
    shortcut = mean_interval(correct, n_resamples=20_000, seed=1)
    rows = interval_over_rows(
        lambda weight: weight @ correct / weight.sum(1), 500, group_N=None, n_resamples=5000, seed=2
    )
    assert shortcut.value == rows.value
    assert shortcut.low == pytest.approx(rows.low, abs=0.004)
    assert shortcut.high == pytest.approx(rows.high, abs=0.004)


def test_grouped_interval_is_wider_on_cloned_rows() -> None:
    original = (np.random.default_rng(3).random(60) < 0.7).astype(float)
    cloned, group = np.repeat(original, 20), np.repeat(np.arange(60), 20).astype(str)
    plain, grouped = mean_interval(cloned), mean_interval(cloned, group_N=group)
    assert grouped.high - grouped.low > 3 * (plain.high - plain.low)
    alone = mean_interval(original)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_groups_are_drawn_whole() -> None:
    group = np.repeat(["a", "b", "c"], 4)
    weights = np.concatenate(list(resample_weights(12, group_N=group, n_resamples=20, seed=0)))
    assert (weights.reshape(20, 3, 4) == weights.reshape(20, 3, 4)[:, :, :1]).all()
    counts = resample_counts(np.tile([0, 1, 1, 2], 3), 3, group_N=group, n_resamples=50, seed=0)
    assert (counts == [3, 6, 3]).all()


def test_same_seed_same_interval() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert mean_interval(values, seed=5) == mean_interval(values, seed=5)
