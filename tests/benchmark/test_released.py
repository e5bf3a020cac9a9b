"""Every task file on a few rows in the layout its data are released in, through prepare, validate and score."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biomedica_corpus.synthetic_benchmark.released.folders import write_lc25000_copy
from biomedica_corpus.synthetic_benchmark.released.write import WRITERS
from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.encode import embed_task
from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.prepare import prepare_task, validate_task
from biomedica_kedro.benchmark.retrieval import RetrievalOptions, retrieval_rows
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import PAPER_SUITE, PAPER_TASKS, Kind, load_tasks
from tests.benchmark.samples_factory import ColorEncoder

TASKS = load_tasks()
TOLD = {"dsad": [("multilabel", "not_a_class")]}


def test_no_task_file_is_left_out() -> None:
    read = {name for name, task in TASKS.items() if task.loader is not None and not name.startswith("ubench_")}
    assert read == WRITERS.keys()


@pytest.mark.parametrize("task_id", sorted(WRITERS))
def test_released_layout_is_prepared_validated_and_scored(task_id: str, tmp_path: Path) -> None:
    task = TASKS[task_id]
    source = tmp_path / "released"
    source.mkdir()
    n_rows = WRITERS[task_id](task, source, 2)
    before = sorted(path for path in source.rglob("*"))
    prepared = prepare_task(task, source, tmp_path / "s")
    assert prepared.n_rows == n_rows
    assert [(reject.source, reject.reason) for reject in prepared.rejects] == TOLD.get(task_id, [])
    assert sorted(path for path in source.rglob("*")) == before, "the data as distributed are never written to"
    samples = TaskSamples(tmp_path / "s" / task_id)
    problems = [problem for problem in validate_task(task, samples) if "were published" not in problem]
    assert problems == []
    embedded, rejects = embed_task(task, samples, ColorEncoder())
    assert rejects == []
    subject = Subject(model_id="m", task=task_id, domain=task.domain, synthetic=False, dataset_digest="d", seed=0)
    if task.kind is Kind.RETRIEVAL:
        rows = retrieval_rows(embedded, subject, RetrievalOptions())
    else:
        rows, _ = classification_rows(task, embedded, subject, ScoreOptions(n_resamples=100, n_resamples_ranked=50))
    assert {row["n"] for row in rows if row["metric"] in ("accuracy", "i2t_R_at_1")} == {n_rows}


def test_every_task_of_the_paper_has_a_writer_of_its_released_layout() -> None:
    paper = [task for task in TASKS.values() if PAPER_SUITE in task.counts_for]
    assert len(paper) == PAPER_TASKS
    assert {task.id for task in paper if task.id not in WRITERS and not task.id.startswith("ubench_")} == set()


def _write(task_id: str, folder: Path) -> Path:
    folder.mkdir()
    WRITERS[task_id](TASKS[task_id], folder, 2)
    return folder


@pytest.mark.parametrize(("task_id", "n_classes"), [("lc25000_lung", 3), ("lc25000_colon", 2)])
def test_copy_on_the_hub_is_read_where_the_folders_are_not(task_id: str, n_classes: int, tmp_path: Path) -> None:
    write_lc25000_copy(tmp_path / "d", 2)
    prepared = prepare_task(TASKS[task_id], tmp_path / "d", tmp_path / "s")
    assert (prepared.n_rows, prepared.rejects) == (2 * n_classes, [])
    assert not any("has no sample" in problem for problem in prepared.problems)


def test_several_organs_are_read_from_the_weak_labels(tmp_path: Path) -> None:
    prepare_task(TASKS["dsad_multilabel"], _write("dsad", tmp_path / "d"), tmp_path / "s")
    rows = [row for rows in TaskSamples(tmp_path / "s/dsad_multilabel").rows() for row in rows]
    names = [cls.name for cls in TASKS["dsad_multilabel"].classes]
    shown = {row["sample_id"]: [name for name, flag in zip(names, row["labels"], strict=True) if flag] for row in rows}
    assert shown["spleen/03/image01.png"] == ["liver", "spleen"]
    assert shown["abdominal_wall/21/image00.png"] == []
    assert {row["group_id"] for row in rows} == {"03", "21"}


def test_weak_labels_that_do_not_fit_the_images_are_an_error(tmp_path: Path) -> None:
    folder = _write("dsad", tmp_path / "d")
    (folder / "colon/03/image01.png").unlink()
    with pytest.raises(LoaderError, match=r"colon/03/weak_labels\.csv has 2 rows for 1 images"):
        prepare_task(TASKS["dsad_multilabel"], folder, tmp_path / "s")


def test_weak_labels_that_name_their_images_need_no_order(tmp_path: Path) -> None:
    folder = _write("dsad", tmp_path / "d")
    path = folder / "colon/03/weak_labels.csv"
    table = pd.read_csv(path)
    table.insert(0, "Frame", ["01", "00"])
    table.to_csv(path, index=False)
    prepare_task(TASKS["dsad_multilabel"], folder, tmp_path / "s")
    rows = {
        row["sample_id"]: row["labels"] for rows in TaskSamples(tmp_path / "s/dsad_multilabel").rows() for row in rows
    }
    assert rows["colon/03/image00.png"][3] == 1  # liver, of the second row


def test_archive_that_breaks_off_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = _write("pcam", tmp_path / "d")
    path = folder / "camelyonpatch_level_2_split_test_x.h5.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(LoaderError, match="damaged or not complete"):
        prepare_task(TASKS["pcam"], folder, tmp_path / "s")
    path.write_bytes(gzip.compress(b"no HDF5"))
    with pytest.raises(LoaderError, match="not a readable HDF5"):
        prepare_task(TASKS["pcam"], folder, tmp_path / "s")


def test_hidden_copies_in_a_class_are_left_out_and_told(tmp_path: Path) -> None:
    folder = _write("lc25000_lung", tmp_path / "d")
    lung = folder / "lung_colon_image_set/lung_image_sets"
    for place in (lung / ".ipynb_checkpoints", lung / "lung_mixed"):
        place.mkdir()
        (place / "lungn1.jpeg").write_bytes((lung / "lung_n/lungn1.jpeg").read_bytes())
    dsad = _write("dsad", tmp_path / "e")
    (dsad / "liver/03/.ipynb_checkpoints").mkdir()
    (dsad / "liver/03/.ipynb_checkpoints/image00.png").write_bytes(b"")
    prepared = [
        prepare_task(TASKS[name], where, tmp_path / "s") for name, where in (("lc25000_lung", folder), ("dsad", dsad))
    ]
    assert [[(each.source, each.reason) for each in report.rejects] for report in prepared] == [
        [
            ("lung_colon_image_set/lung_image_sets/.ipynb_checkpoints", "not_a_class"),
            ("lung_colon_image_set/lung_image_sets/lung_mixed", "not_a_class"),
        ],
        [("multilabel", "not_a_class"), ("03/.ipynb_checkpoints", "not_a_class")],
    ]
    assert [report.n_rows for report in prepared] == [6, 44]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "], ids=["comma", "semicolon", "tab", "bar", "blank"])
def test_separator_of_a_table_is_found(separator: str, tmp_path: Path) -> None:
    folder = _write("rsna_pneumonia", tmp_path / "d")
    path = folder / "stage_2_train_labels.csv"
    table = pd.read_csv(path, dtype=str).fillna("0")
    table.to_csv(path, index=False, sep=separator, encoding="utf-8-sig")
    prepared = prepare_task(TASKS["rsna_pneumonia"], folder, tmp_path / "s")
    assert (prepared.n_rows, prepared.rejects) == (4, [])


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    folder = _write("chexpert", tmp_path / "d")
    table = pd.read_csv(folder / "valid.csv", dtype=str)
    table.replace({"1.0": "1,0", "0.0": "0,0"}).to_csv(folder / "valid.csv", index=False, sep=";")
    prepare_task(TASKS["chexpert"], folder, tmp_path / "s")
    first = next(TaskSamples(tmp_path / "s/chexpert").rows())[0]
    assert first["labels"] == [0, 0, 0, 1, 0]


def test_labels_out_of_range_are_rejects(tmp_path: Path) -> None:
    images, labels = np.zeros((3, 224, 224), np.uint8), np.array([[0], [1], [2]], np.uint8)
    np.savez(tmp_path / "breastmnist_224.npz", test_images=images, test_labels=labels)
    prepared = prepare_task(TASKS["breastmnist"], tmp_path, tmp_path / "s")
    assert Counter(reject.reason for reject in prepared.rejects) == {"invalid_task_row": 1}
