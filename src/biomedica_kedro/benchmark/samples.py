"""The interchange form of a task's samples, and reading it.

    <root>/<task_id>/rows.parquet    one row a sample, image bytes as distributed
    <root>/<task_id>/samples.json    provenance, only where there is any: {"synthetic": true, ...}

Columns: sample_id, image, and by kind of task label_name or label, labels (multilabel), caption (retrieval); optional
group_id, split, source_license, sha256. Labels are keyed on the name, since numbers are ambiguous between copies of a
data set. A row that brings options of its own is a closed question, whatever the kind of its task: options and
answer_idx where there is one wording, questions where there are several. Tasks that share their images keep them once,
in an image set (`image_sets`), which has them by their sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.image_sets import IMAGES, ImageSet
from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.images.decode import Pixels as Pixels
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.stages.files import sha256_of
from biomedica_kedro.stages.place import Place, entries, local_copy, read_files

ROWS = "rows.parquet"
PROVENANCE = "samples.json"
IMAGE_SET = "image_set"  # in samples.json: folder beside the task's that holds its images
NOT_ASKED = "not_asked"  # in samples.json: rows of the data that are not asked the task's question
TEST = "test"
CAPTIONS = "captions"  # the protocol of models that embed: options are captions, the nearest one is the answer

QUESTION = pa.struct(
    [
        ("protocol", pa.string()), ("wording", pa.int32()), ("options", pa.list_(pa.string())),
        ("answer_idx", pa.int32()),
    ]
)  # fmt: skip
SAMPLES = pa.schema(
    [
        ("sample_id", pa.string()), ("image", pa.binary()), ("label", pa.int32()), ("label_name", pa.string()),
        ("labels", pa.list_(pa.int8())), ("options", pa.list_(pa.string())), ("answer_idx", pa.int32()),
        ("caption", pa.string()), ("group_id", pa.string()), ("split", pa.string()), ("source_license", pa.string()),
        ("sha256", pa.string()), ("questions", pa.list_(QUESTION)),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One wording of what a sample is asked.

    Attributes:
        protocol: "captions", or another way of asking, e.g. "questions": scored apart, never averaged with captions.
        wording: number of the wording; accuracies of one protocol's wordings are averaged.
        options: distinct texts, two at least.
        answer_idx: the right one.
    """

    protocol: str
    wording: int
    options: tuple[str, ...]
    answer_idx: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is right for one sample; the fields are those of `Sample`."""

    label: int = -1
    label_name: str = ""
    labels: tuple[int, ...] = ()
    questions: tuple[Question, ...] = ()
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, checked against its task.

    Attributes:
        sample_id: unique within the task.
        image: H x W x 3, RGB.
        answer: what is right.
        group_id: patient, slide, article; empty when samples are independent.
        split: "test" or "train".
        sha256: of the image bytes.
    """

    sample_id: str
    image: Pixels
    answer: Answer
    group_id: str
    split: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TaskSamples:
    """Handle on one task's samples; cheap to make and to send to a worker."""

    folder: Place

    @property
    def is_synthetic(self) -> bool:
        """Whether the samples are drawn, for trying out."""
        return bool(self.provenance().get("synthetic", False))

    def provenance(self) -> Mapping[str, Any]:
        """What is recorded about the samples."""
        (content,) = read_files([self.folder / PROVENANCE])
        return dict(orjson.loads(content)) if content is not None else {}

    def digest(self) -> str:
        """Digest of the rows and of what is recorded about them."""
        rows = self._rows_file
        return hashlib.sha256(
            (_digest(rows, rows.stat().st_mtime_ns) + orjson.dumps(self.provenance()).decode()).encode()
        ).hexdigest()

    @property
    def _rows_file(self) -> Path:
        """The task's own file, on this machine."""
        return local_copy(self.folder / ROWS)

    def n_rows(self) -> int:
        """Number of rows."""
        return int(pq.read_metadata(self._rows_file).num_rows)

    def n_published(self) -> int:
        """Number of rows with those that are not asked the task's question."""
        return self.n_rows() + int(self.provenance().get(NOT_ASKED, 0))

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns, those of `names` that exist."""
        present = set(pq.read_schema(self._rows_file).names)
        return pq.read_table(self._rows_file, columns=[name for name in names if name in present])

    @property
    def image_set(self) -> ImageSet | None:
        """Where the images lie that this task shares with others; None when it has images of its own."""
        name = self.provenance().get(IMAGE_SET)
        return ImageSet(local_copy(self.folder.parent / str(name) / IMAGES)) if name else None

    @property
    def images_name(self) -> str:
        """What the images are told apart by from those of other tasks: their set, or the task's own folder."""
        shared = self.image_set
        return self.folder.name if shared is None else shared.name

    def rows(self, batch_size: int = 64) -> Iterator[list[dict[str, Any]]]:
        """Raw rows in file order, some at a time, with their images."""
        images = self.image_set
        for rows in self._own(batch_size, SAMPLES.names):
            if images is not None:
                found = images.read([row["sha256"] for row in rows])
                rows = [{**row, "image": image} for row, image in zip(rows, found, strict=True)]
            yield rows

    def answers(self, batch_size: int = 64) -> Iterator[list[dict[str, Any]]]:
        """Raw rows in file order without their images."""
        return self._own(batch_size, [name for name in SAMPLES.names if name != "image"])

    def images(self, batch_size: int = 64) -> Iterator[list[dict[str, Any]]]:
        """Name, sha256 where it is known, and bytes of every image, each name once; of all tasks that share them."""
        shared = self.image_set
        seen: set[str] = set()
        chunks = self._own(batch_size, ["sample_id", "sha256", "image"]) if shared is None else shared.rows(batch_size)
        for rows in chunks:
            named = {image_name(row): row for row in reversed(rows)}
            new = [{**row, "name": name} for name, row in reversed(named.items()) if name not in seen]
            seen.update(named)
            yield new

    def _own(self, batch_size: int, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        with pq.ParquetFile(self._rows_file, memory_map=True) as file:
            present = [name for name in names if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=batch_size, columns=present):
                yield batch.to_pylist()


@dataclass(frozen=True, slots=True)
class SampleStore:
    """Where samples lie: folders with one subfolder a task; the first folder that has a task wins."""

    folders: tuple[Place, ...]

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
        listed = ((folder / entry.name, entry) for folder in self.folders for entry in entries(folder))
        return sorted({entry.name for path, entry in listed if entry.n_bytes is None and (path / ROWS).is_file()})


def image_name(row: Mapping[str, Any]) -> str:
    """What a row's image is called: the sha256 it states, so that equal images are opened once, or its sample's id."""
    return str(row.get("sha256") or row["sample_id"])


def check_sample(row: Mapping[str, Any], task: Task) -> Sample:
    """Check one row against its task and open its image.

    Raises:
        DataError: INVALID_TASK_ROW when the label, the options or the caption do not fit the task; CORRUPT_IMAGE,
            NOT_AN_IMAGE, IMAGE_TOO_LARGE or MISSING_FILE when the image cannot be used.
    """
    answer = check_answer(row, task)
    image_bytes = row.get("image")
    if not image_bytes:
        raise DataError(RejectReason.MISSING_FILE, "the row holds no image")
    return Sample(
        sample_id=str(row["sample_id"]),
        image=read_pixels(image_bytes, ANY_SIZE),
        answer=answer,
        group_id=row.get("group_id") or "",
        split=row.get("split") or TEST,
        sha256=row.get("sha256") or hashlib.sha256(image_bytes).hexdigest(),
    )


def check_answer(row: Mapping[str, Any], task: Task) -> Answer:
    """Check what a row says is right; its image is not looked at.

    Raises:
        DataError: INVALID_TASK_ROW or NO_CAPTION when the label, the options or the caption do not fit the task;
            NO_QUESTION when there is nothing to ask.
    """
    name = str(row.get("label_name") or "")
    if row.get("options") or row.get("questions") or task.kind is Kind.CLOSED_VQA:
        return Answer(label_name=name, questions=_questions(row))
    if task.kind is Kind.RETRIEVAL:
        caption = (row.get("caption") or "").strip()
        if not caption:
            raise DataError(RejectReason.NO_CAPTION, "a retrieval pair needs a caption")
        return Answer(caption=caption)
    if task.kind is Kind.MULTILABEL:
        labels = tuple(int(value) for value in row.get("labels") or ())
        if len(labels) != len(task.classes) or not set(labels) <= {0, 1}:
            raise _invalid(f"labels {labels} are not {len(task.classes)} zeros and ones")
        return Answer(labels=labels)
    return Answer(label=_class_index(row, task), label_name=name)


def _questions(row: Mapping[str, Any]) -> tuple[Question, ...]:
    """The wordings of a row; each must be answerable, and one of them must ask in captions."""
    asked = [
        {"protocol": CAPTIONS, "wording": 0, "options": row["options"], "answer_idx": row.get("answer_idx")}
    ] if row.get("options") is not None else row.get("questions") or []  # fmt: skip
    questions = tuple(_question(**question) for question in asked)
    if not any(question.protocol == CAPTIONS for question in questions):
        raise DataError(RejectReason.NO_QUESTION, "the row is not asked this question")
    return questions


def _question(protocol: str, wording: int, options: Sequence[Any], answer_idx: int | None) -> Question:
    where = f"{protocol} {wording}"
    if len(options) < 2:
        raise _invalid(f"{where}: {len(options)} options: with fewer than two every answer is right")
    if not all(isinstance(option, str) and option.strip() for option in options):
        raise _invalid(f"{where}: an option is no text")
    if len(set(options)) != len(options):
        raise _invalid(f"{where}: two options are the same string")
    if answer_idx is None or not 0 <= answer_idx < len(options):
        raise _invalid(f"{where}: answer_idx {answer_idx} is out of the range of {len(options)} options")
    # The same few strings in every row: kept once
    return Question(protocol, int(wording), tuple(map(intern, options)), int(answer_idx))


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
