"""Embeddings of tasks under a model as they are kept and read: computed once, every metric runs from them.

Three tables a batch, which holds the tasks that share their images: `rows` (a row a sample of a task), `vectors` (a row
an image, float32, L2-normalised, null where it cannot be used) and `anchors` (a row a text, and one for a blank gray
image, whose answers show what the prompts alone prefer). Shapes: N samples, E dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.benchmark.samples import QUESTION, Question, Sample
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.identity import combined
from biomedica_kedro.stages.parquet import read_parquet

VECTORS, ANCHORS, CORRUPTED = "vectors.parquet", "anchors.parquet", "corrupted.parquet"
_VERSION = 3  # raised by a person when the arrays read from the same tables are others

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TaskEmbeddings:
    """What all metrics of one model on one task are computed from.

    Attributes:
        sample_ids: of the samples, in file order.
        images: image vectors, N x E.
        labels: class of each sample (-1: none).
        multilabel: 0/1 per class, or N x 0.
        questions: what each sample is asked, where it brings its own options.
        captions: text of each retrieval pair.
        groups: group of each sample ("" = independent).
        splits: "test" or "train".
        texts: every text's vector, those of tasks that share the images included; empty for a model of images only.
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
class Embedded:
    """The three tables of tasks that share their images."""

    rows: pa.Table
    vectors: pa.Table
    anchors: pa.Table

    def of(self, task_id: str) -> TaskEmbeddings:
        """The arrays of one task; of a task that has no row, empty ones."""
        rows = self.rows.filter(pc.equal(self.rows["task"], task_id))
        places = pc.index_in(rows["image"], self.vectors["name"].combine_chunks()).to_numpy()
        multilabel = rows["labels"].to_pylist()
        width = max((len(flags) for flags in multilabel), default=0)
        anchor_AE, texts = matrix_of(self.anchors["embedding"]), self.anchors["text"].to_pylist()
        metadata: Mapping[bytes, bytes] = self.anchors.schema.metadata
        return TaskEmbeddings(
            sample_ids=rows["sample_id"].to_pylist(),
            images=matrix_of(self.vectors["embedding"])[places],
            labels=rows["label"].to_numpy().astype(np.int64),
            multilabel=np.array(multilabel, dtype=np.int64).reshape(rows.num_rows, width),
            questions=[tuple(map(_question_of, asked)) for asked in rows["questions"].to_pylist()],
            captions=rows["caption"].to_pylist(),
            groups=np.array(rows["group_id"].to_pylist(), dtype=np.str_),
            splits=np.array(rows["split"].to_pylist(), dtype=np.str_),
            texts={text: anchor_AE[at] for at, text in enumerate(texts) if text is not None},
            blank=anchor_AE[texts.index(None)],
            logit_scale=float(metadata[b"logit_scale"]),
            hashes=self.vectors["sha256"].take(places).to_pylist(),
            label_names=rows["label_name"].to_pylist(),
        )


@dataclass(frozen=True, slots=True)
class CachedEmbeddings:
    """A task in a batch of `benchmark_embeddings`: a model on it, as it lies on disk."""

    folder: BatchFolder
    batch: str
    task_id: str

    def digest(self) -> str:
        """Digest of the content, and of how it is read."""
        return combined({"content": self.folder.digest(self.batch), "task": self.task_id, "version": _VERSION})

    def read(self) -> TaskEmbeddings:
        """The arrays; the tables of the last batch are kept, since tasks that share images follow each other."""
        return _tables_of(self.folder, self.batch, self.folder.digest(self.batch)).of(self.task_id)

    def corrupted(self) -> pa.Table | None:
        """The task's images under corruptions, see `robustness.embed_corrupted`; None where that was not asked for."""
        path = self.folder.beside(self.batch, f"{self.task_id}-{CORRUPTED}")
        return read_parquet(path) if path.is_file() else None


def rows_table(task_id: str, samples: Sequence[Sample], images: Sequence[str]) -> pa.Table:
    """The samples of a task; `images` are the names of theirs among the vectors."""
    answers = [sample.answer for sample in samples]
    return pa.table(
        {
            "task": pa.array([task_id] * len(samples), pa.string()),
            "sample_id": pa.array([sample.sample_id for sample in samples], pa.string()),
            "image": pa.array(images, pa.string()),
            "split": pa.array([sample.split for sample in samples], pa.string()),
            "label": pa.array([answer.label for answer in answers], pa.int32()),
            "label_name": pa.array([answer.label_name for answer in answers], pa.string()),
            "labels": pa.array([answer.labels for answer in answers], pa.list_(pa.int8())),
            "questions": pa.array([list(map(_row_of, answer.questions)) for answer in answers], pa.list_(QUESTION)),
            "caption": pa.array([answer.caption for answer in answers], pa.string()),
            "group_id": pa.array([sample.group_id for sample in samples], pa.string()),
        }
    )


def vectors_table(names: Sequence[str], hashes: Sequence[str], vector_NE: Vectors) -> pa.Table:
    """Images by name, with the sha256 of their bytes and their vectors."""
    return pa.table(
        {
            "name": pa.array(names, pa.string()),
            "sha256": pa.array(hashes, pa.string()),
            "embedding": _vectors_array(vector_NE),
        }
    )


def anchors_table(texts: Sequence[str], text_TE: Sequence[Vectors], blank_E: Vectors, logit_scale: float) -> pa.Table:
    """Texts with their vectors, the blank image's under no text, and the model's logit scale."""
    rows = np.concatenate([*text_TE, blank_E[None]]).astype(np.float32)
    table = pa.table({"text": pa.array([*texts, None], pa.string()), "embedding": _vectors_array(rows)})
    return table.replace_schema_metadata({"logit_scale": repr(float(logit_scale))})


def matrix_of(column: pa.ChunkedArray) -> Vectors:
    """A column of vectors as N x E."""
    width = column.type.list_size
    flat = column.combine_chunks().flatten().to_numpy()
    return np.asarray(flat, dtype=np.float32).reshape(len(column), width)


@lru_cache(maxsize=1)
def _tables_of(folder: BatchFolder, batch: str, digest: str) -> Embedded:
    beside = (read_parquet(folder.beside(batch, kind)) for kind in (VECTORS, ANCHORS))
    return Embedded(folder.table(batch), *beside)


def _vectors_array(rows_NE: Vectors) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(rows_NE, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows_NE.shape[1])


def _row_of(question: Question) -> dict[str, Any]:
    """Not dataclasses.asdict, which copies every option: half of the time of a task's tables."""
    return {
        "protocol": question.protocol, "wording": question.wording, "options": question.options,
        "answer_idx": question.answer_idx,
    }  # fmt: skip


def _question_of(asked: Mapping[str, Any]) -> Question:
    return Question(asked["protocol"], asked["wording"], tuple(asked["options"]), asked["answer_idx"])
