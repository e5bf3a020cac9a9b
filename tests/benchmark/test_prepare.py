"""From data as distributed, with all that can be wrong in them, to scores of the rest."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.encode import embed_task
from biomedica_kedro.benchmark.loaders.options import TableOptions
from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.prepare import prepare_task
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Task
from tests.benchmark.samples_factory import ColorEncoder

SUBJECT = Subject(model_id="m", task="colors", domain="paint", synthetic=False, dataset_digest="d", seed=0)


def _encoded(image: Image.Image, kind: str) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind)
    return sink.getvalue()


@pytest.fixture
def task(color_task: Task) -> Task:
    loader = TableOptions(kind="table", file="labels.csv", image_column="file", label_columns=("label",))
    return color_task.model_copy(update={"loader": loader})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 4), np.uint8)
    photo = _encoded(Image.fromarray(noise[..., :3]), "JPEG")
    files = {
        "photo.jpg": photo, "gray.png": _encoded(Image.fromarray(noise[..., 0]), "PNG"),
        "alpha.png": _encoded(Image.fromarray(noise), "PNG"),
        "deep.png": _encoded(Image.fromarray(noise[..., 0].astype(np.uint16) * 200), "PNG"),
        "truncated.jpg": photo[: len(photo) // 2], "text.png": b"not an image", "extra.jpg": photo, "purple.jpg": photo,
    }  # fmt: skip
    source = tmp_path / "distributed"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    rows = ["photo.jpg,red", "gray.png,green", "alpha.png,red", "deep.png,green", "truncated.jpg,red", "text.png,red"]
    rows += ["absent.jpg,red", "purple.jpg,purple", "photo.jpg,red"]
    (source / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return source


def test_what_cannot_be_used_is_listed_and_the_rest_is_scored(task: Task, folder: Path, tmp_path: Path) -> None:
    prepared = prepare_task(task, folder, tmp_path / "samples")
    reasons = {reject.source: reject.reason for reject in prepared.rejects}
    assert reasons == {
        "truncated.jpg": "corrupt_image", "text.png": "not_an_image", "absent.jpg": "missing_file",
        "purple.jpg": "invalid_task_row", "extra.jpg": "invalid_task_row", "photo.jpg": "duplicate_key",
    }  # fmt: skip
    assert prepared.n_rows == 4
    assert "class 'blue' has no sample" in prepared.problems
    embedded, rejects = embed_task(task, TaskSamples(tmp_path / "samples" / task.id), ColorEncoder())
    scores, answers = classification_rows(task, embedded, SUBJECT, ScoreOptions())
    assert rejects == []
    assert Counter(answer["prompt_set"] for answer in answers)["card"] == 4
    assert {row["n"] for row in scores if row["metric"] == "balanced_accuracy"} == {4}


def test_file_that_is_no_table_is_an_error_that_names_it(task: Task, folder: Path, tmp_path: Path) -> None:
    (folder / "labels.csv").write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    with pytest.raises(LoaderError, match=r"labels\.csv"):
        prepare_task(task, folder, tmp_path / "samples")
