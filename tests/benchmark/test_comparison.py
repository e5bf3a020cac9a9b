from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biomedica_kedro.benchmark.bootstrap import interval_of, mean_interval
from biomedica_kedro.benchmark.comparison import SUITE, compare_predictions, paired_difference


def _predictions(task: str, correct: dict[str, np.ndarray], group: np.ndarray | None = None) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "model_id": model, "task": task, "sample_id": [f"s{row}" for row in range(len(values))],
                "group_id": "" if group is None else group, "correct": values.astype(float),
            }
        )
        for model, values in correct.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_better_model_wins_and_equal_models_tie() -> None:
    rng = np.random.default_rng(0)
    strong, weak = rng.random(400) < 0.8, rng.random(400) < 0.5
    predictions = pd.concat(
        [_predictions("easy", {"a": strong, "b": weak}), _predictions("same", {"a": strong, "b": strong})]
    )
    result = compare_predictions(predictions, {"easy": "real", "same": "real"}, n_resamples=2000).set_index("task")
    assert result.loc["easy", "verdict"] == "win"
    assert result.loc["same", ["verdict", "p_value", "difference"]].tolist() == ["tie", 1.0, 0.0]
    assert result.loc[SUITE, "difference"] == pytest.approx(result.loc["easy", "difference"] / 2)


def test_holm_corrects_over_the_tasks() -> None:
    rng = np.random.default_rng(1)
    parts = [_predictions(f"t{at}", {"a": rng.random(80) < 0.6, "b": rng.random(80) < 0.5}) for at in range(12)]
    result = compare_predictions(pd.concat(parts), {f"t{at}": "real" for at in range(12)}, n_resamples=2000)
    tasks = result[result["task"] != SUITE]
    assert (tasks["p_holm"] >= tasks["p_value"]).all()


def test_pairing_makes_the_interval_narrower_than_two_independent_ones() -> None:
    rng = np.random.default_rng(2)
    first = (rng.random(500) < 0.7).astype(float)
    second = np.where(rng.random(500) < 0.05, 1 - first, first)
    value, drawn = paired_difference(first - second, None, n_resamples=5000, seed=0)
    paired = interval_of(value, drawn)
    apart = [mean_interval(values) for values in (first, second)]
    assert paired.high - paired.low < min(each.high - each.low for each in apart)


def test_synthetic_tasks_have_a_suite_mean_of_their_own() -> None:
    right, wrong = np.ones(50), np.zeros(50)
    predictions = pd.concat([_predictions("x", {"a": right, "b": wrong}), _predictions("y", {"a": wrong, "b": right})])
    result = compare_predictions(predictions, {"x": "real", "y": "synthetic"}, n_resamples=500)
    means = result[result["task"] == SUITE].set_index("samples")["difference"]
    assert means.to_dict() == {"real": 1.0, "synthetic": -1.0}
