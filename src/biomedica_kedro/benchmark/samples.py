"""The interchange form of a task's samples, and reading it.

    <root>/<task_id>/rows.parquet    one row a sample, image bytes as distributed
    <root>/<task_id>/samples.json    provenance, only where there is any: {"synthetic": true, ...}

Columns: sample_id, image, and by kind of task label_name or label, labels (multilabel), options and answer_idx (closed
questions), caption (retrieval); optional group_id, split, source_license, sha256. Labels are keyed on the name, since
numbers are ambiguous between copies of a data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.images.decode import Pixels as Pixels
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.stages.files import sha256_of

ROWS = "rows.parquet"
PROVENANCE = "samples.json"
TEST = "test"
SAMPLES = pa.schema(
    [
        ("sample_id", pa.string()), ("image", pa.binary()), ("label", pa.int32()), ("label_name", pa.string()),
        ("labels", pa.list_(pa.int8())), ("options", pa.list_(pa.string())), ("answer_idx", pa.int32()),
        ("caption", pa.string()), ("group_id", pa.string()), ("split", pa.string()), ("source_license", pa.string()),
        ("sha256", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, checked against its task.

    Attributes:
        sample_id: unique within the task.
        image: H x W x 3, RGB.
        label: class index, or index of the answer among `options`; -1 for retrieval and multilabel.
        labels: 0/1 per class of a multilabel task.
        options: option strings of a closed question.
        caption: text of a retrieval pair.
        group_id: patient, slide, article; empty when samples are independent.
        split: "test" or "train".
        sha256: of the image bytes.
    """

    sample_id: str
    image: Pixels
    label: int
    labels: tuple[int, ...]
    options: tuple[str, ...]
    caption: str
    group_id: str
    split: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TaskSamples:
    """Handle on one task's samples; cheap to make and to send to a worker."""

    folder: Path

    @property
    def is_synthetic(self) -> bool:
        """Whether the samples are drawn, for trying out."""
        return bool(self.provenance().get("synthetic", False))

    def provenance(self) -> Mapping[str, Any]:
        """What is recorded about the samples."""
        path = self.folder / PROVENANCE
        return dict(orjson.loads(path.read_bytes())) if path.is_file() else {}

    def digest(self) -> str:
        """Digest of the rows and of what is recorded about them."""
        rows = self.folder / ROWS
        return hashlib.sha256(
            (_digest(rows, rows.stat().st_mtime_ns) + orjson.dumps(self.provenance()).decode()).encode()
        ).hexdigest()

    def n_rows(self) -> int:
        """Number of rows."""
        return int(pq.read_metadata(self.folder / ROWS).num_rows)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns, those of `names` that exist."""
        present = set(pq.read_schema(self.folder / ROWS).names)
        return pq.read_table(self.folder / ROWS, columns=[name for name in names if name in present])

    def rows(self, batch_size: int = 64) -> Iterator[list[dict[str, Any]]]:
        """Raw rows in file order, some at a time."""
        with pq.ParquetFile(self.folder / ROWS, memory_map=True) as file:
            for batch in file.iter_batches(batch_size=batch_size):
                yield batch.to_pylist()


@dataclass(frozen=True, slots=True)
class SampleStore:
    """Where samples lie: folders with one subfolder a task; the first folder that has a task wins."""

    folders: tuple[Path, ...]

    def prepare(self) -> None:
        """Make ready what can be made; the first stage that reads samples asks for it. Here nothing."""

    def find(self, task_id: str) -> TaskSamples | None:
        """The samples of a task; None when no folder has them."""
        for folder in self.folders:
            if (folder / task_id / ROWS).is_file():
                return TaskSamples(folder / task_id)
        return None

    def task_ids(self) -> list[str]:
        """Tasks that have samples."""
        return sorted({path.parent.name for folder in self.folders for path in folder.glob(f"*/{ROWS}")})


def check_sample(row: Mapping[str, Any], task: Task) -> Sample:
    """Check one row against its task and open its image.

    Raises:
        DataError: INVALID_TASK_ROW when the label, the options or the caption do not fit the task; CORRUPT_IMAGE,
            NOT_AN_IMAGE, IMAGE_TOO_LARGE or MISSING_FILE when the image cannot be used.
    """
    label, labels, options, caption = _answer(row, task)
    image_bytes = row.get("image")
    if not image_bytes:
        raise DataError(RejectReason.MISSING_FILE, "the row holds no image")
    return Sample(
        sample_id=str(row["sample_id"]),
        image=read_pixels(image_bytes, ANY_SIZE),
        label=label,
        labels=labels,
        options=options,
        caption=caption,
        group_id=row.get("group_id") or "",
        split=row.get("split") or TEST,
        sha256=row.get("sha256") or hashlib.sha256(image_bytes).hexdigest(),
    )


def _answer(row: Mapping[str, Any], task: Task) -> tuple[int, tuple[int, ...], tuple[str, ...], str]:
    caption = (row.get("caption") or "").strip()
    if task.kind is Kind.RETRIEVAL:
        if not caption:
            raise DataError(RejectReason.NO_CAPTION, "a retrieval pair needs a caption")
        return -1, (), (), caption
    if task.kind is Kind.MULTILABEL:
        labels = tuple(int(value) for value in row.get("labels") or ())
        if len(labels) != len(task.classes) or not set(labels) <= {0, 1}:
            raise _invalid(f"labels {labels} are not {len(task.classes)} zeros and ones")
        return -1, labels, (), caption
    if task.kind is Kind.CLOSED_VQA:
        return _option(row)
    return _class_index(row, task), (), (), caption


def _option(row: Mapping[str, Any]) -> tuple[int, tuple[int, ...], tuple[str, ...], str]:
    options = tuple(row.get("options") or ())
    answer = row.get("answer_idx")
    if len(options) < 2:
        raise _invalid(f"{len(options)} options: with fewer than two every answer is right")
    if len(set(options)) != len(options):
        raise _invalid("two options are the same string")
    if answer is None or not 0 <= answer < len(options):
        raise _invalid(f"answer_idx {answer} is out of the range of {len(options)} options")
    return int(answer), (), options, ""


def _class_index(row: Mapping[str, Any], task: Task) -> int:
    name = row.get("label_name")
    if name:
        position = task.label_index().get(str(name).casefold())
        if position is None:
            raise _invalid(f"label {name!r} is none of the task's classes {[cls.name for cls in task.classes]}")
        return position
    label = row.get("label")
    if label is None or not 0 <= label < len(task.classes):
        raise _invalid(f"label {label} is out of the range of {len(task.classes)} classes")
    return int(label)


def _invalid(detail: str) -> DataError:
    return DataError(RejectReason.INVALID_TASK_ROW, detail)


@lru_cache(maxsize=256)
def _digest(path: Path, modified_ns: int) -> str:
    return sha256_of(path)
