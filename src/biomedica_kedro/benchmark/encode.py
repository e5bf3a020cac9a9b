"""Embed tasks under a model: each image once, however many of the tasks ask about it, and each text once.

Tasks whose images lie in one image set are embedded together, in one pass over the set. Memory is bounded by two chunks
of opened images, the vectors, and one task's answers. Shapes: M images, E dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.benchmark.embeddings import (
    Embedded,
    TaskEmbeddings,
    Vectors,
    anchors_table,
    rows_table,
    vectors_table,
)
from biomedica_kedro.benchmark.prompts import prompt_sets, texts_of
from biomedica_kedro.benchmark.samples import TEST, Pixels, Sample, TaskSamples, check_answer, image_name
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.records import HOW, DataError, Options, Reject, RejectReason
from biomedica_kedro.stages import map_items
from biomedica_kedro.stages.identity import combined, digest_of

STAGE = "embed_benchmark"
BLANK = np.full((224, 224, 3), 128, np.uint8)
_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)  # pixels are not needed after embedding, and would fill the memory

Row: TypeAlias = Mapping[str, Any]
Opened: TypeAlias = tuple[str, Callable[[], Any]]
ImageMapper: TypeAlias = Callable[..., tuple[list[Any], list[Reject]]]


_map_images: ImageMapper = partial(map_items, stage=STAGE)


class EmbedOptions(Options):
    """How tasks are embedded.

    Attributes:
        batch_size: images, or texts, a forward pass.
        threads: threads that decode and resize the next images while the model treats the last ones.
    """

    batch_size: int = Field(default=64, ge=1)
    threads: Annotated[int, HOW] = Field(default=2, ge=1)


class Encoder(Protocol):
    """A model as the benchmark sees it; vectors are float32 and L2-normalised."""

    @property
    def reads_text(self) -> bool:
        """Whether there is a text tower; without one only probes are scored."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor between cosine similarity and logit, for calibration."""
        ...

    def prepare(self, image: Pixels) -> Any:
        """One RGB image of any size as `encode_images` takes it; called in several threads."""
        ...

    def encode_images(self, prepared: Sequence[Any]) -> Vectors:
        """N x E vectors of prepared images."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """N x E vectors of texts."""
        ...


class RowMapper(Protocol):
    """Applies a function to rows and leaves out those on which it fails, as `Batch.map` does."""

    def __call__(
        self, function: Callable[[Row], Sample], items: Iterable[Row], /, *, source: Callable[[Row], str]
    ) -> list[Sample]:
        """Results in the order of the items."""
        ...


@dataclass(frozen=True, slots=True)
class AskedTasks:
    """Tasks that share their images, or a single one, with their samples; by task."""

    by_task: Mapping[str, tuple[Task, TaskSamples]]

    def digest(self) -> str:
        """Digest of the tasks, of their rows, and of the images they share."""
        parts = {name: [digest_of(task), samples.digest()] for name, (task, samples) in self.by_task.items()}
        shared = next(iter(self.by_task.values()))[1].image_set
        return combined({"tasks": parts, "images": None if shared is None else shared.digest()})


@dataclass(frozen=True, slots=True)
class ImageVectors:
    """Vectors of the images that could be opened, M x E, and why the others could not."""

    names: list[str]
    hashes: list[str]
    vectors: Vectors
    refused: Mapping[str, Reject]

    def table(self, width: int) -> pa.Table:
        """As they are kept; `width` is that of vectors where there is none."""
        vector_ME = self.vectors if self.names else np.zeros((0, width), np.float32)
        return vectors_table(self.names, self.hashes, vector_ME)


def embed_task(
    task: Task, samples: TaskSamples, encoder: Encoder, options: EmbedOptions | None = None
) -> tuple[TaskEmbeddings, list[Reject]]:
    """Embed one task by itself.

    Returns:
        Its arrays, and one reject per row that could not be used; rows in = rows + rejects.
    """
    rejects: list[Reject] = []

    def map_rows(
        function: Callable[[Row], Sample], items: Iterable[Row], /, *, source: Callable[[Row], str]
    ) -> list[Sample]:
        kept, refused = map_items(function, items, stage=STAGE, source=source)
        rejects.extend(refused)
        return kept

    asked = AskedTasks({task.id: (task, samples)})
    return embed_tasks(asked, encoder, options or EmbedOptions(), map_rows).of(task.id), rejects


def embed_tasks(
    asked: AskedTasks,
    encoder: Encoder,
    options: EmbedOptions,
    map_rows: RowMapper,
    map_images: ImageMapper = _map_images,
) -> Embedded:
    """Embed tasks that share their images, or one task.

    Args:
        asked: all with the images of one image set, or a single task with its own.
        encoder: the model.
        options: see `EmbedOptions`.
        map_rows: takes the rows of each task; what it leaves out is a reject of that task.
        map_images: as `map_items`; what it rejects, every row that needs the image is rejected for.
    """
    first = next(iter(asked.by_task.values()))[1]
    images = embed_each_image(first.images(options.batch_size), encoder, options, map_images)
    answers = {task_id: (task, samples.answers()) for task_id, (task, samples) in asked.by_task.items()}
    return embed_answers(answers, images, encoder, options, map_rows)


def embed_answers(
    asked: Mapping[str, tuple[Task, Iterable[Sequence[Row]]]],
    images: ImageVectors,
    encoder: Encoder,
    options: EmbedOptions,
    map_rows: RowMapper,
) -> Embedded:
    """The rest of `embed_tasks`, once the images are embedded: rows and texts.

    Args:
        asked: by task: its rows, some at a time.
        images: their images.
        encoder: the model.
        options: see `EmbedOptions`.
        map_rows: see `embed_tasks`.
    """
    tables: list[pa.Table] = []
    texts: set[str] = set()
    for task_id, (task, chunks) in asked.items():
        take = _RowTaker(task, images)
        rows = (row for chunk in chunks for row in chunk)
        kept = map_rows(take, rows, source=lambda row, task_id=task_id: f"{task_id}/{row['sample_id']}")  # type: ignore[misc]
        texts |= {*texts_of(prompt_sets(task)), *_texts_of_samples(kept)}
        tables.append(rows_table(task_id, kept, take.images))
    anchors = _embed_texts(sorted(texts) if encoder.reads_text else [], encoder, options.batch_size)
    return Embedded(pa.concat_tables(tables), images.table(anchors.schema.field("embedding").type.list_size), anchors)


def embed_each_image(
    chunks: Iterable[Sequence[Row]],
    encoder: Encoder,
    options: EmbedOptions,
    map_images: ImageMapper = _map_images,
    change: Callable[[str, Pixels], Pixels] | None = None,
) -> ImageVectors:
    """Embed images, chunk by chunk.

    Args:
        chunks: of rows with the `name` and the `image` bytes, each name once.
        encoder: the model.
        options: see `EmbedOptions`.
        map_images: see `embed_tasks`.
        change: what is done to an image, by its name, before the model sees it.
    """
    names: list[str] = []
    hashes: list[str] = []
    vectors: list[Vectors] = []
    refused: dict[str, Reject] = {}

    def open_row(row: Row) -> tuple[str, str, Any]:
        content = row["image"]
        if not content:
            raise DataError(RejectReason.MISSING_FILE, "the row holds no image")
        pixels = read_pixels(content, ANY_SIZE)
        prepared = encoder.prepare(pixels if change is None else change(row["name"], pixels))
        return str(row["name"]), row.get("sha256") or hashlib.sha256(content).hexdigest(), prepared

    for opened in _ahead(chunks, open_row, options.threads):
        taken, rejects = map_images(lambda item: item[1](), opened, source=lambda item: item[0])
        refused |= {reject.source: reject for reject in rejects}
        if taken:
            vectors.append(np.asarray(encoder.encode_images([image for *_, image in taken]), dtype=np.float32))
            names += [name for name, *_ in taken]
            hashes += [sha256 for _, sha256, _ in taken]
    matrix_ME = np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)
    return ImageVectors(names, hashes, matrix_ME, refused)


class _RowTaker:
    """Checks the rows of a task one after the other; one whose image was not embedded is a reject."""

    def __init__(self, task: Task, vectors: ImageVectors) -> None:
        self._task, self._known, self._refused = task, frozenset(vectors.names), vectors.refused
        self._seen: set[str] = set()
        self.images: list[str] = []

    def __call__(self, row: Row) -> Sample:
        sample = Sample(
            sample_id=str(row["sample_id"]), image=_NO_IMAGE, answer=check_answer(row, self._task),
            group_id=row.get("group_id") or "", split=row.get("split") or TEST, sha256=row.get("sha256") or "",
        )  # fmt: skip
        image = image_name(row)
        if sample.sample_id in self._seen:
            raise DataError(RejectReason.DUPLICATE_KEY, "this sample_id came before")
        if image in self._refused:
            raise DataError(RejectReason(self._refused[image].reason), self._refused[image].detail)
        if image not in self._known:
            raise DataError(RejectReason.MISSING_FILE, "its image set does not hold the row's image")
        self._seen.add(sample.sample_id)
        self.images.append(image)
        return sample


def _embed_texts(texts: Sequence[str], encoder: Encoder, batch_size: int) -> pa.Table:
    """The anchors: every text once, and the blank image."""
    blank_E = encoder.encode_images([encoder.prepare(BLANK)])[0]
    text_TE = [encoder.encode_texts(texts[at : at + batch_size]) for at in range(0, len(texts), batch_size)]
    return anchors_table(texts, text_TE, blank_E, encoder.logit_scale)


def _texts_of_samples(samples: Iterable[Sample]) -> set[str]:
    asked = {text for sample in samples for question in sample.answer.questions for text in question.options}
    return asked | {sample.answer.caption for sample in samples if sample.answer.caption}


def _ahead(chunks: Iterable[Sequence[Row]], function: Callable[[Row], Any], threads: int) -> Iterator[Sequence[Opened]]:
    """Rows on their way through `function`, with the chunk after them on its way, too; never more than two chunks.

    With one thread nothing is ahead: a row is opened when it is asked for, so that one that kills the process is known.
    """
    if threads == 1:
        yield from ([(str(row["name"]), partial(function, row)) for row in rows] for rows in chunks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: Sequence[Opened] = []
        for rows in chunks:
            submitted = [(str(row["name"]), pool.submit(function, row).result) for row in rows]
            if waiting:
                yield waiting
            waiting = submitted
        if waiting:
            yield waiting
