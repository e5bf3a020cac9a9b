from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biomedica_kedro.benchmark.corruptions import corruptions_of
from biomedica_kedro.benchmark.encode import EmbedOptions, embed_task
from biomedica_kedro.benchmark.robustness import (
    ALL,
    RobustnessOptions,
    embed_corrupted,
    relative_drop,
    robustness_rows,
)
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Kind, Task, TaskFileError
from tests.benchmark.samples_factory import ColorEncoder, class_rows, write_samples

OPTIONS = ScoreOptions(n_resamples=100, n_resamples_ranked=100)


def test_accuracy_is_given_for_every_corruption_and_its_loss_over_the_severities(
    tmp_path: Path, color_task: Task
) -> None:
    samples = TaskSamples(write_samples(tmp_path, "colors", class_rows(color_task, 3)))
    encoder = ColorEncoder()
    embedded, _ = embed_task(color_task, samples, encoder)
    corrupted = embed_corrupted(samples, embedded, encoder, RobustnessOptions(samples=5), EmbedOptions())
    kinds = corruptions_of("colors")
    assert corrupted.num_rows == 5 * (1 + 5 * len(kinds))
    subject = Subject(model_id="m", task="colors", domain="d", synthetic=True, dataset_digest="", seed=0)
    rows = robustness_rows(color_task, embedded, corrupted, subject, OPTIONS)
    assert {row["n"] for row in rows} == {5}
    accuracy = {row["detail"]: row["value"] for row in rows if row["metric"] == "accuracy"}
    assert accuracy.keys() == {"clean", *(f"{kind} {severity}" for kind in kinds for severity in range(1, 6))}
    drops = {row["detail"]: row["value"] for row in rows if row["metric"] == "relative_drop"}
    assert drops.keys() == {*kinds, ALL}
    if accuracy["clean"]:
        mean = np.mean([accuracy[f"pixelate {severity}"] for severity in range(1, 6)])
        assert drops["pixelate"] == pytest.approx(1 - mean / accuracy["clean"])


def test_drop_is_the_share_of_what_was_right_and_pairs_images(tmp_path: Path, color_task: Task) -> None:
    samples = TaskSamples(write_samples(tmp_path, "colors", class_rows(color_task, 4)))
    part, _ = embed_task(color_task, samples, ColorEncoder())
    clean = np.array([1.0] * 8 + [0.0] * 4)
    same = relative_drop(clean, [clean, clean], part, OPTIONS)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    half = relative_drop(clean, [clean, np.zeros(12)], part, OPTIONS)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))
    nothing = relative_drop(np.zeros(12), [clean], part, OPTIONS)
    assert np.isnan(nothing.value)


def test_tasks_are_checked_before_anything_is_embedded(color_task: Task) -> None:
    tasks = {"colors": color_task, "pairs": color_task.model_copy(update={"id": "pairs", "kind": Kind.RETRIEVAL})}
    with pytest.raises(TaskFileError, match="did you mean 'colors'"):
        RobustnessOptions(tasks=("color",)).check(tasks)
    assert RobustnessOptions.model_validate({"tasks": "colors;pairs"}).tasks == ("colors", "pairs")
    with pytest.raises(ValueError, match="pairs is retrieval"):
        RobustnessOptions(tasks=("pairs",)).check(tasks)
