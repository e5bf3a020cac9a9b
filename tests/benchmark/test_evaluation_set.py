"""The paper's released evaluation set as a source of its own, and how it differs from the original data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from biomedica_corpus.synthetic_benchmark.released import ubench
from biomedica_corpus.synthetic_benchmark.released.tiles import encoded, tile
from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.encode import embed_task
from biomedica_kedro.benchmark.evaluation_set import prepare_evaluation_set, read_contents
from biomedica_kedro.benchmark.loaders.rows import LoaderError, png_of
from biomedica_kedro.benchmark.prepare import prepare_task
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.scores import Protocol, ScoreOptions, Subject
from biomedica_kedro.benchmark.sources_compared import compare_sources
from biomedica_kedro.benchmark.task import TaskFileError, load_tasks
from tests.benchmark.evaluation_set_factory import evaluation_row, write_evaluation_set
from tests.benchmark.samples_factory import ColorEncoder

TASKS = load_tasks()
DERMA = [cls.name for cls in TASKS["dermamnist"].classes]
DERMA_OPTIONS = [f"Dermoscopy image showing {cls.words}." for cls in TASKS["dermamnist"].classes]
FINDINGS = ("No pleural effusion.", "Pleural effusion.")


def _derma_rows(n: int = 7) -> list[dict]:
    return [
        evaluation_row(
            "DermaMNIST", png_of(tile(0, 1, at)), DERMA_OPTIONS[::-1], 6 - at % 7, DERMA[at % 7], f"derma_{at}"
        )
        for at in range(n)
    ]


def _suites() -> dict[str, list[dict]]:
    lone = evaluation_row("opencell", encoded(tile(0, 1, 90)), ["A membrane."], 0, "membrane", "o0")
    unknown = evaluation_row("unknown", encoded(tile(0, 1, 91)), ["a", "b"], 0, "", "u0")
    out_of_range = evaluation_row("PatchCamelyon", encoded(tile(0, 1, 92)), ["Normal.", "Tumor."], 2, "1", "p0")
    good = evaluation_row("PatchCamelyon", encoded(tile(0, 1, 93)), ["Normal.", "Tumor."], 1, "1", None)
    chest = [
        evaluation_row("CheXpert", encoded(tile(0, 1, 94 + at)), list(FINDINGS), at, str(at), f"c{at}") for at in (0, 1)
    ]
    return {
        "MedMNIST": _derma_rows(), "uBench": [lone, unknown], "PatchCamelyon": [out_of_range, good], "CheXpert": chest,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_evaluation_set(tmp_path / "released", _suites())


def test_tasks_are_found_by_name_and_the_others_told(folder: Path) -> None:
    contents = read_contents(folder, TASKS)
    assert {name: task.id for name, task in contents.tasks.items()} == {
        "CheXpert": "chexpert", "DermaMNIST": "dermamnist", "PatchCamelyon": "pcam", "opencell": "ubench_opencell",
    }  # fmt: skip
    assert contents.unknown["unknown"][0] == 1


def test_user_names_what_is_not_found(folder: Path) -> None:
    contents = read_contents(folder, TASKS, {"unknown": "ubench_wu_2023"})
    assert contents.tasks["unknown"].id == "ubench_wu_2023"
    with pytest.raises(TaskFileError, match="did you mean 'ubench_wu_2023'"):
        read_contents(folder, TASKS, {"unknown": "ubench_wu_2024"})
    with pytest.raises(LoaderError, match="both 'DermaMNIST' and 'unknown' are task 'dermamnist'"):
        read_contents(folder, TASKS, {"unknown": "dermamnist"})


def test_rows_are_scored_by_their_own_options_whatever_the_kind_of_the_task(folder: Path, tmp_path: Path) -> None:
    reports = prepare_evaluation_set(folder, tmp_path / "s", read_contents(folder, TASKS))
    kept = {report.task_id: (report.n_rows, len(report.rejects)) for report in reports}
    assert kept == {"dermamnist": (7, 0), "chexpert": (2, 0), "pcam": (1, 1), "ubench_opencell": (0, 1)}
    for task_id in ("dermamnist", "chexpert", "pcam"):
        task = TASKS[task_id]
        embedded, rejects = embed_task(task, TaskSamples(tmp_path / "s" / task_id), ColorEncoder())
        subject = Subject(model_id="m", task=task_id, domain="d", synthetic=False, dataset_digest="d", seed=0)
        rows, _ = classification_rows(task, embedded, subject, ScoreOptions(n_resamples=100))
        counts = Counter(row["metric"] for row in rows if row["protocol"] == Protocol.ZERO_SHOT)
        assert counts == {"accuracy": 1, "chance": 1, "above_chance": 1}
        assert rejects == []


def test_same_data_in_both_sources_do_not_differ(tmp_path: Path) -> None:
    folder = write_evaluation_set(tmp_path / "released", {"MedMNIST": _derma_rows()})
    prepare_evaluation_set(folder, tmp_path / "released_samples", read_contents(folder, TASKS))
    images = np.stack([tile(0, 1, at) for at in range(8)])
    labels = np.array([[at % 7] for at in range(8)], np.uint8)
    np.savez(tmp_path / "dermamnist_224.npz", test_images=images, test_labels=labels)
    prepare_task(TASKS["dermamnist"], tmp_path, tmp_path / "own")
    difference = compare_sources(
        TASKS["dermamnist"],
        TaskSamples(tmp_path / "own/dermamnist"),
        TaskSamples(tmp_path / "released_samples/dermamnist"),
    )
    assert (difference.n_first, difference.n_second, difference.n_both) == (8, 7, 7)
    assert (difference.other_answers, difference.not_compared) == (0, 0)
    assert "1 only in the first source" in difference.line()


def test_another_answer_and_other_options_are_reported(tmp_path: Path) -> None:
    original = [row for row in ubench.ubench_rows() if row["dataset"] == "wu_et_al_2023"]
    task = TASKS["ubench_wu_2023"]
    prepare_task(task, ubench.write_arrow(tmp_path / "u", original, files=1), tmp_path / "own")
    copies = []
    for row in original:
        asked = row["captions"]["classification_0"]
        copies.append(
            evaluation_row(
                "wu_et_al_2023", row["image"]["bytes"], asked["options"], asked["answer_idx"], row["label_name"],
                row["image_id"],
            )
        )  # fmt: skip
    copies[0]["label"], copies[0]["answer_idx"] = "no_mitochondria", 1 - copies[0]["answer_idx"]
    copies[1]["options"] = ["Mitochondria.", "None."]
    copies[2]["image"]["bytes"] = encoded(tile(0, 1, 5), "JPEG")  # meets by its id
    folder = write_evaluation_set(tmp_path / "released", {"uBench": copies})
    prepare_evaluation_set(folder, tmp_path / "s", read_contents(folder, TASKS))
    difference = compare_sources(task, TaskSamples(tmp_path / "own" / task.id), TaskSamples(tmp_path / "s" / task.id))
    assert (difference.n_both, difference.other_answers, difference.other_options) == (4, 1, 1)
    assert "'mitochondria'" in difference.line() and "'no_mitochondria'" in difference.line()


def test_samples_of_the_original_data_are_never_overwritten(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "dermamnist_224.npz", test_images=tile(0, 1, 0)[None], test_labels=np.zeros((1, 1), np.uint8))
    prepare_task(TASKS["dermamnist"], tmp_path, tmp_path / "s")
    contents = read_contents(folder, TASKS)
    with pytest.raises(LoaderError, match="holds dermamnist of its original data"):
        prepare_evaluation_set(folder, tmp_path / "s", contents)
    assert TaskSamples(tmp_path / "s/dermamnist").n_rows() == 1
    for _ in range(2):
        assert prepare_evaluation_set(folder, tmp_path / "other", contents)


def test_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    ubench.write_parquet(tmp_path / "d", ubench.ubench_rows()[:2])
    with pytest.raises(LoaderError, match="no column 'task'"):
        read_contents(tmp_path / "d", TASKS)
    (tmp_path / "e").mkdir()
    with pytest.raises(LoaderError, match=r"holds no \.parquet file"):
        read_contents(tmp_path / "e", TASKS)
