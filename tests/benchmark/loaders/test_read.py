"""Every loader kind, on synthetic data in the format as distributed, with the faults real copies have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biomedica_corpus.synthetic_benchmark.released import write_released
from biomedica_kedro.benchmark.loaders.options import TableOptions
from biomedica_kedro.benchmark.loaders.read import read_distributed
from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.prepare import prepare_task
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.task import ClassName, Kind, Task, load_tasks
from biomedica_kedro.records import Reject, RejectReason

TASKS = load_tasks()
ONE_A_KIND = ("dermamnist", "pcam", "lc25000_lung", "chexpert", "rsna_pneumonia", "cataracts")


@pytest.fixture
def distributed(tmp_path: Path):
    def write(task_id: str) -> Path:
        write_released(TASKS[task_id], tmp_path / task_id)
        return tmp_path / task_id

    return write


@pytest.mark.parametrize("task_id", ONE_A_KIND)
def test_every_row_of_a_synthetic_data_set_is_usable(task_id: str, distributed, tmp_path: Path) -> None:
    task = TASKS[task_id]
    prepared = prepare_task(task, distributed(task_id), tmp_path / "out", synthetic=True)
    assert (prepared.rejects, prepared.problems) == ([], [])
    assert prepared.n_rows == 3 * (2 if task.kind is Kind.BINARY else len(task.classes))
    assert TaskSamples(tmp_path / "out" / task_id).is_synthetic


def test_groups_come_from_a_table_or_the_path(distributed) -> None:
    slides = {row["group_id"] for row in read_distributed(TASKS["pcam"], distributed("pcam"))}
    patients = {row["group_id"] for row in read_distributed(TASKS["chexpert"], distributed("chexpert"))}
    assert slides == {"camelyon16_test_000", "camelyon16_test_001", "camelyon16_test_002"}
    assert len(patients) == 8


def test_missing_file_names_what_is_there(distributed) -> None:
    folder = distributed("dermamnist")
    (folder / "dermamnist_224.npz").rename(folder / "dermamnist_64.npz")
    with pytest.raises(LoaderError, match=r"did you mean 'dermamnist_64\.npz'"):
        list(read_distributed(TASKS["dermamnist"], folder))


def test_missing_column_names_the_close_match(distributed) -> None:
    folder = distributed("chexpert")
    table = pd.read_csv(folder / "valid.csv").rename(columns={"Edema": "Oedema"})
    table.to_csv(folder / "valid.csv", index=False)
    with pytest.raises(LoaderError, match=r"no column 'Edema': did you mean 'Oedema'"):
        list(read_distributed(TASKS["chexpert"], folder))


def test_missing_and_extra_images_are_rejects_and_the_rest_is_read(distributed) -> None:
    folder = distributed("chexpert")
    images = sorted(folder.rglob("*.jpg"))
    images[0].rename(images[1].with_name("view2.jpg"))
    rows = list(read_distributed(TASKS["chexpert"], folder))
    rejects = [row for row in rows if isinstance(row, Reject)]
    assert [reject.reason for reject in rejects] == [RejectReason.MISSING_FILE, RejectReason.INVALID_TASK_ROW]
    assert len(rows) - len(rejects) == 14


def test_blank_and_uncertain_findings_are_negative(distributed) -> None:
    folder = distributed("chexpert")
    table = pd.read_csv(folder / "valid.csv", dtype=str)
    table.loc[0, ["Atelectasis", "Edema"]] = ["-1.0", ""]
    table.to_csv(folder / "valid.csv", index=False)
    first = next(iter(read_distributed(TASKS["chexpert"], folder)))
    assert (first["labels"][0], first["labels"][3]) == (0, 0)


def test_boxes_of_one_image_are_one_row(distributed) -> None:
    rows = list(read_distributed(TASKS["rsna_pneumonia"], distributed("rsna_pneumonia")))
    assert len({row["sample_id"] for row in rows}) == len(rows) == 6


def test_truncated_archive_is_an_error_not_a_crash(distributed) -> None:
    path = distributed("dermamnist") / "dermamnist_224.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(LoaderError, match="not a readable"):
        list(read_distributed(TASKS["dermamnist"], path.parent))


def test_task_without_loader_says_so(tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match="interchange form"):
        read_distributed(TASKS["embedded_concept"], tmp_path)


def _table_task(classes: tuple[str, ...], **options: object) -> Task:
    base = TASKS["dermamnist"].model_dump()
    loader = TableOptions(kind="table", **options)
    changes = {"id": "own", "kind": Kind.MULTICLASS, "n_expected": None, "loader": loader}
    return Task(**{**base, **changes, "classes": tuple(ClassName(name=name) for name in classes)})


def test_one_hot_table_of_real_dermoscopy(shared_data: Path, tmp_path: Path) -> None:
    names = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
    task = _table_task(
        names, file="ISIC_2019_Training_GroundTruth.csv", image_column="image", label_columns=names,
        image_pattern="images/{}.jpg",
    )  # fmt: skip
    prepared = prepare_task(task, shared_data / "bench" / "fixtures" / "isic2019", tmp_path)
    table_rows = len(pd.read_csv(shared_data / "bench/fixtures/isic2019/ISIC_2019_Training_GroundTruth.csv"))
    missing = [reject for reject in prepared.rejects if reject.reason is RejectReason.MISSING_FILE]
    assert prepared.n_rows + len(missing) == table_rows
    assert prepared.n_rows >= 20


def test_numbered_table_of_real_blood_cells_with_missing_files(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "bench" / "fixtures" / "wbc_csv_bmp"
    task = _table_task(
        ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"), file="Class Labels of Dataset 1.csv",
        image_column="image ID", label_columns=("class label",), image_pattern="{:03}.bmp",
        label_map={"1": "neutrophil", "2": "lymphocyte", "3": "monocyte", "4": "eosinophil", "5": "basophil"},
    )  # fmt: skip
    prepared = prepare_task(task, folder, tmp_path / "out")
    assert prepared.n_rows == len(list(folder.glob("*.bmp")))
    assert {reject.reason for reject in prepared.rejects} == {RejectReason.MISSING_FILE}


def test_json_lines_with_captions_are_pairs(tmp_path: Path) -> None:
    line = {"image": "dev/a.jpg", "caption": "A mass.", "case": 7}
    (tmp_path / "pairs.jsonl").write_text(
        "\n".join(json.dumps({**line, "image": name}) for name in ("dev/a.jpg", "b.jpg"))
    )
    (tmp_path / "a.jpg").write_bytes(b"x")
    loader = TableOptions(
        kind="table", file="pairs.jsonl", image_column="image", caption_column="caption", group_column="case"
    )
    task = TASKS["biomedflickr"].model_copy(update={"loader": loader})
    row, missing = read_distributed(task, tmp_path)
    assert (row["caption"], row["group_id"]) == ("A mass.", "7")
    assert missing.reason is RejectReason.MISSING_FILE


def test_table_has_labels_or_captions() -> None:
    for given in ({}, {"label_columns": ("a",), "caption_column": "b"}):
        with pytest.raises(ValueError, match="one of the two"):
            TableOptions(kind="table", file="x.csv", image_column="image", **given)


def test_gray_arrays_are_read(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 28, 28), np.uint8), np.array([[0], [1], [0], [1]], np.uint8)
    np.savez(tmp_path / "breastmnist_224.npz", test_images=images, test_labels=labels)
    prepared = prepare_task(TASKS["breastmnist"], tmp_path, tmp_path / "out")
    assert prepared.n_rows == 4
    assert prepared.problems == ["4 samples, 156 were published"]
