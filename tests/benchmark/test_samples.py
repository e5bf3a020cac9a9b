from __future__ import annotations

from pathlib import Path

import pytest

from biomedica_kedro.benchmark.samples import SampleStore, check_sample
from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.records import DataError, RejectReason
from tests.benchmark.samples_factory import class_rows, png, write_samples


@pytest.mark.parametrize(
    "row",
    [
        {"label_name": "purple"}, {"label": 3}, {"label": -1}, {"label": None},
    ],
    ids=str,
)  # fmt: skip
def test_label_that_the_task_does_not_know_is_a_reject(color_task: Task, row: dict) -> None:
    with pytest.raises(DataError) as error:
        check_sample({"sample_id": "a", "image": png((1, 2, 3)), **row}, color_task)
    assert error.value.reason is RejectReason.INVALID_TASK_ROW


def test_name_decides_over_number(color_task: Task) -> None:
    row = {"sample_id": "a", "image": png((1, 2, 3)), "label": 0, "label_name": "Blue"}
    assert check_sample(row, color_task).answer.label == 2


@pytest.mark.parametrize(
    "row",
    [
        {"options": ["a"], "answer_idx": 0}, {"options": ["a", "a"], "answer_idx": 0},
        {"options": ["a", "b"], "answer_idx": 2}, {"options": ["a", "b"]},
    ],
    ids=["single option", "repeated option", "answer out of range", "no answer"],
)  # fmt: skip
def test_unanswerable_question_is_a_reject(color_task: Task, row: dict) -> None:
    task = color_task.model_copy(update={"kind": Kind.CLOSED_VQA, "classes": ()})
    with pytest.raises(DataError):
        check_sample({"sample_id": "a", "image": png((1, 2, 3)), **row}, task)


def test_missing_task_is_no_error_and_first_folder_wins(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 2)
    write_samples(tmp_path / "own", "colors", rows[:1])
    write_samples(tmp_path / "corpus", "colors", rows)
    store = SampleStore((tmp_path / "own", tmp_path / "corpus", tmp_path / "absent"))
    assert store.find("other") is None
    assert store.find("colors").n_rows() == 1
    assert store.task_ids() == ["colors"]


def test_digest_follows_content_and_provenance(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 2)
    digests = {
        SampleStore((tmp_path / name,)).find("colors").digest()
        for name, kept, provenance in (("a", 6, None), ("b", 5, None), ("c", 6, b'{"synthetic": true}'), ("d", 6, None))
        if write_samples(tmp_path / name, "colors", rows[:kept], provenance=provenance)
    }
    assert len(digests) == 3
