"""Embeddings of a task under a model: computed once, every metric runs from them.

Two tables a task: `images` (a row a sample, vectors float32 and L2-normalised) and `anchors` (a row a text, and one for
a blank gray image, whose answers show what the prompts alone prefer). Images that several tasks share are embedded once
(`embed_image_set`), and each task picks its vectors (`embed_task_from`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.benchmark.prompts import prompt_sets, texts_of
from biomedica_kedro.benchmark.samples import QUESTION, Pixels, Question, Sample, TaskSamples, check_sample
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.records import HOW, DataError, Options, Reject, RejectReason
from biomedica_kedro.stages import BatchFolder, map_items
from biomedica_kedro.stages.folder import read_parquet
from biomedica_kedro.stages.identity import combined

STAGE = "embed_benchmark"
ANCHORS = "anchors.parquet"
_VERSION = 2  # raised by a person when the arrays read from the same two tables are others
NO_IMAGE = np.zeros((0, 0, 3), np.uint8)  # pixels are not needed after embedding, and would fill the memory
BLANK = np.full((224, 224, 3), 128, np.uint8)

Vectors = npt.NDArray[np.float32]


class EmbedOptions(Options):
    """How a task is embedded.

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


@dataclass(frozen=True, slots=True)
class TaskEmbeddings:
    """What all metrics of one model on one task are computed from; N samples, E dimensions.

    Attributes:
        sample_ids: of the samples, in file order.
        images: image vectors.
        labels: class of each sample (-1: none).
        multilabel: 0/1 per class, or N x 0.
        questions: what each sample is asked, where it brings its own options.
        captions: text of each retrieval pair.
        groups: group of each sample ("" = independent).
        splits: "test" or "train".
        texts: every text's vector; empty for a model of images only.
        blank: vector of a blank image.
        logit_scale: of the model.
        hashes: sha256 of each image's bytes.
        label_names: class of each sample by name, also where a question is asked; "" for none.
    """

    sample_ids: list[str]
    images: Vectors
    labels: npt.NDArray[np.int64]
    multilabel: npt.NDArray[np.int64]
    questions: list[tuple[Question, ...]]
    captions: list[str]
    groups: npt.NDArray[np.str_]
    splits: npt.NDArray[np.str_]
    texts: dict[str, Vectors]
    blank: Vectors
    logit_scale: float
    hashes: list[str] = field(default_factory=list)
    label_names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sample_ids)

    def part(self, split: str) -> TaskEmbeddings:
        """The samples of one split."""
        return self.take(np.flatnonzero(self.splits == split))

    def take(self, rows: npt.NDArray[np.intp]) -> TaskEmbeddings:
        """Some of the samples."""

        def some(values: list[str]) -> list[str]:
            return [values[row] for row in rows] if values else []

        return TaskEmbeddings(
            some(self.sample_ids), self.images[rows], self.labels[rows], self.multilabel[rows],
            [self.questions[row] for row in rows], some(self.captions), self.groups[rows], self.splits[rows],
            self.texts, self.blank, self.logit_scale, some(self.hashes), some(self.label_names),
        )  # fmt: skip

    def independent_groups(self) -> npt.NDArray[np.str_] | None:
        """Group of each sample for the bootstrap; None when every sample stands alone."""
        if not len(self) or not (self.groups != "").any():
            return None
        own = np.array([f"\0{sample_id}" for sample_id in self.sample_ids])
        return np.where(self.groups == "", own, self.groups)


@dataclass(frozen=True, slots=True)
class CachedEmbeddings:
    """One batch of `benchmark_embeddings`: a model on a task, as it lies on disk."""

    folder: BatchFolder
    batch: str

    def digest(self) -> str:
        """Digest of the content, and of how it is read."""
        return combined({"content": self.folder.digest(self.batch), "version": _VERSION})

    def read(self) -> TaskEmbeddings:
        """The arrays."""
        anchors = read_parquet(self.folder.beside(self.batch, ANCHORS))
        return read_embeddings(self.folder.table(self.batch), anchors)


def embed_task(
    task: Task, samples: TaskSamples, encoder: Encoder, options: EmbedOptions | None = None
) -> tuple[pa.Table, pa.Table, list[Reject]]:
    """Embed a task's images and texts.

    Args:
        task: what the samples are checked against.
        samples: where they lie.
        encoder: the model.
        options: see `EmbedOptions`.
    Returns:
        The images table, the anchors table, and one reject per row that could not be used; rows in = rows + rejects.
    """
    options = options or EmbedOptions()
    size = options.batch_size
    rejects: list[Reject] = []
    kept: list[Sample] = []
    vectors: list[Vectors] = []

    def open_row(row: Mapping[str, Any]) -> tuple[Sample, Any]:
        sample = check_sample(row, task)
        return replace(sample, image=NO_IMAGE), encoder.prepare(sample.image)

    take = _Taker()
    for opened in in_threads(samples.rows(size), open_row, options.threads):
        taken, refused = map_items(take, opened, stage=STAGE, source=lambda item: f"{task.id}/{item[0]}")
        rejects += refused
        if taken:
            vectors.append(np.asarray(encoder.encode_images([image for _, image in taken]), dtype=np.float32))
            kept += [sample for sample, _ in taken]
    anchors = embed_texts(task, kept, encoder, size)
    images = images_table(kept, vectors, anchors.schema.field("embedding").type.list_size, encoder.logit_scale)
    return images, anchors, rejects


def embed_texts(task: Task, samples: Sequence[Sample], encoder: Encoder, batch_size: int) -> pa.Table:
    """The anchors table of a task: every text of its prompts and of its samples once, and the blank image."""
    texts = sorted({*texts_of(prompt_sets(task)), *_texts_of_samples(samples)}) if encoder.reads_text else []
    blank_E = encoder.encode_images([encoder.prepare(BLANK)])[0]
    text_TE = [encoder.encode_texts(texts[at : at + batch_size]) for at in range(0, len(texts), batch_size)]
    return _anchors_table(texts, text_TE, blank_E)


def read_embeddings(images: pa.Table, anchors: pa.Table) -> TaskEmbeddings:
    """Bring the two tables of `embed_task` back into arrays."""
    anchor_AE = matrix_of(anchors["embedding"])
    texts = anchors["text"].to_pylist()
    scale = float((images.schema.metadata or {}).get(b"logit_scale", b"100"))
    multilabel = images["labels"].to_pylist()
    width = max((len(row) for row in multilabel), default=0)
    return TaskEmbeddings(
        sample_ids=images["sample_id"].to_pylist(),
        images=matrix_of(images["embedding"]),
        labels=images["label"].to_numpy().astype(np.int64),
        multilabel=np.array(multilabel, dtype=np.int64).reshape(images.num_rows, width),
        questions=[tuple(_question_of(asked) for asked in row) for row in images["questions"].to_pylist()],
        captions=images["caption"].to_pylist(),
        groups=np.array(images["group_id"].to_pylist(), dtype=np.str_),
        splits=np.array(images["split"].to_pylist(), dtype=np.str_),
        texts={text: anchor_AE[at] for at, text in enumerate(texts) if text is not None},
        blank=anchor_AE[texts.index(None)],
        logit_scale=scale,
        hashes=images["sha256"].to_pylist(),
        label_names=images["label_name"].to_pylist(),
    )


def _row_of(question: Question) -> dict[str, Any]:
    """Not dataclasses.asdict, which copies every option: half of the time of a task's tables."""
    return {
        "protocol": question.protocol, "wording": question.wording, "options": question.options,
        "answer_idx": question.answer_idx,
    }  # fmt: skip


def _question_of(asked: Mapping[str, Any]) -> Question:
    return Question(asked["protocol"], asked["wording"], tuple(asked["options"]), asked["answer_idx"])


def _texts_of_samples(samples: Iterable[Sample]) -> set[str]:
    asked = {text for sample in samples for question in sample.answer.questions for text in question.options}
    return asked | {sample.answer.caption for sample in samples if sample.answer.caption}


Opened: TypeAlias = tuple[str, "Future[Any]"]


def in_threads(
    chunks: Iterable[Sequence[Mapping[str, Any]]],
    function: Callable[[Mapping[str, Any]], Any],
    threads: int,
    *,
    name: str = "sample_id",
) -> Iterator[list[Opened]]:
    """Rows on their way through `function`, with the chunk after them on its way, too; never more than two chunks.

    Args:
        chunks: of rows.
        function: what is done to each.
        threads: how many at once.
        name: the column that names a row.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Opened] = []
        for rows in chunks:
            submitted = [(str(row.get(name)), pool.submit(function, row)) for row in rows]
            if waiting:
                yield waiting
            waiting = submitted
        if waiting:
            yield waiting


class _Taker:
    """Take opened rows one after the other; a sample_id that came before is a reject."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, opened: Opened) -> tuple[Sample, Any]:
        sample, image = opened[1].result()
        if sample.sample_id in self._seen:
            raise DataError(RejectReason.DUPLICATE_KEY, "this sample_id came before")
        self._seen.add(sample.sample_id)
        return sample, image


def images_table(samples: Sequence[Sample], vectors: Sequence[Vectors], width: int, logit_scale: float) -> pa.Table:
    """The images table of a task: a row a sample, with its vector."""
    embedding_NE = np.concatenate(vectors) if vectors else np.zeros((0, width), np.float32)
    return pa.table(
        {
            "sample_id": pa.array([sample.sample_id for sample in samples], pa.string()),
            "split": pa.array([sample.split for sample in samples], pa.string()),
            "label": pa.array([sample.answer.label for sample in samples], pa.int32()),
            "label_name": pa.array([sample.answer.label_name for sample in samples], pa.string()),
            "labels": pa.array([sample.answer.labels for sample in samples], pa.list_(pa.int8())),
            "questions": pa.array(
                [[_row_of(question) for question in sample.answer.questions] for sample in samples], pa.list_(QUESTION)
            ),
            "caption": pa.array([sample.answer.caption for sample in samples], pa.string()),
            "group_id": pa.array([sample.group_id for sample in samples], pa.string()),
            "sha256": pa.array([sample.sha256 for sample in samples], pa.string()),
            "embedding": vectors_array(embedding_NE),
        }
    ).replace_schema_metadata({"logit_scale": repr(float(logit_scale))})


def _anchors_table(texts: Sequence[str], text_TE: Sequence[Vectors], blank_E: Vectors) -> pa.Table:
    rows = np.concatenate([*text_TE, blank_E[None]]).astype(np.float32)
    return pa.table({"text": pa.array([*texts, None], pa.string()), "embedding": vectors_array(rows)})


def vectors_array(rows_NE: Vectors) -> pa.FixedSizeListArray:
    """N x E as a column."""
    flat = pa.array(np.ascontiguousarray(rows_NE, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows_NE.shape[1])


def matrix_of(column: pa.ChunkedArray) -> Vectors:
    """The reverse of `vectors_array`."""
    width = column.type.list_size
    flat = column.combine_chunks().flatten().to_numpy()
    return np.asarray(flat, dtype=np.float32).reshape(len(column), width)
