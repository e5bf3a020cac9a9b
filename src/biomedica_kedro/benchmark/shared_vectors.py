"""Embed the images that several tasks share once, and give each task its vectors.

One table an image set: sha256, embedding (float32, L2-normalised, null where the image cannot be used), reason, detail.
What a task gets of it equals what embedding the task alone gives: a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from biomedica_kedro.benchmark.encode import (
    NO_IMAGE,
    STAGE,
    EmbedOptions,
    Encoder,
    Vectors,
    embed_texts,
    images_table,
    in_threads,
    matrix_of,
    vectors_array,
)
from biomedica_kedro.benchmark.image_sets import ImageSet
from biomedica_kedro.benchmark.samples import TEST, Sample, TaskSamples, check_answer
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.records import DataError, Reject, RejectReason
from biomedica_kedro.stages import map_items


def embed_image_set(images: ImageSet, encoder: Encoder, options: EmbedOptions | None = None) -> pa.Table:
    """Embed every image of a set.

    Args:
        images: where they lie.
        encoder: the model.
        options: see `EmbedOptions`.
    Returns:
        A row an image in the set's order: sha256, embedding, reason, detail.
    """
    options = options or EmbedOptions()
    hashes: list[str] = []
    vectors: list[Vectors] = []
    refused: dict[str, Reject] = {}

    def open_row(row: Mapping[str, Any]) -> tuple[str, Any]:
        return str(row["sha256"]), encoder.prepare(read_pixels(row["image"], ANY_SIZE))

    for opened in in_threads(images.rows(options.batch_size), open_row, options.threads, name="sha256"):
        taken, rejects = map_items(
            lambda item: item[1].result(), opened, stage=STAGE, source=lambda item: str(item[0])
        )  # fmt: skip
        refused |= {reject.source: reject for reject in rejects}
        hashes += [name for name, _ in opened]
        if taken:
            vectors.append(np.asarray(encoder.encode_images([image for _, image in taken]), dtype=np.float32))
    width = vectors[0].shape[1] if vectors else 1
    embedding_NE = np.zeros((len(hashes), width), np.float32)
    is_usable = np.array([name not in refused for name in hashes], dtype=bool)
    if vectors:
        embedding_NE[is_usable] = np.concatenate(vectors)
    reasons = [refused.get(name) for name in hashes]
    return pa.table(
        {
            "sha256": pa.array(hashes, pa.string()),
            "embedding": vectors_array(embedding_NE),
            "reason": pa.array([None if each is None else str(each.reason) for each in reasons], pa.string()),
            "detail": pa.array([None if each is None else each.detail for each in reasons], pa.string()),
        }
    )


def embed_task_from(
    task: Task, samples: TaskSamples, vectors: pa.Table, encoder: Encoder, options: EmbedOptions | None = None
) -> tuple[pa.Table, pa.Table, list[Reject]]:
    """What `encode.embed_task` gives, with the vectors of the task's image set: only texts are embedded here.

    Args:
        task: what the rows are checked against.
        samples: its rows, which name images of the set.
        vectors: of `embed_image_set` under the same encoder.
        encoder: the model.
        options: see `EmbedOptions`.
    """
    options = options or EmbedOptions()
    position = {name: at for at, name in enumerate(vectors["sha256"].to_pylist())}
    reasons, details = vectors["reason"].to_pylist(), vectors["detail"].to_pylist()
    kept: dict[str, Sample] = {}
    places: list[int] = []

    def take(row: Mapping[str, Any]) -> None:
        sample = _sample_of(row, task)
        if sample.sample_id in kept:
            raise DataError(RejectReason.DUPLICATE_KEY, "this sample_id came before")
        at = position.get(sample.sha256)
        if at is None:
            raise DataError(RejectReason.MISSING_FILE, "its image set does not hold the row's image")
        if reasons[at] is not None:
            raise DataError(RejectReason(reasons[at]), details[at])
        kept[sample.sample_id] = sample
        places.append(at)

    rejects: list[Reject] = []
    for rows in samples.answers():
        rejects += map_items(take, rows, stage=STAGE, source=lambda row: f"{task.id}/{row['sample_id']}")[1]
    anchors = embed_texts(task, list(kept.values()), encoder, options.batch_size)
    embedding_NE = matrix_of(vectors["embedding"])[places]
    width = anchors.schema.field("embedding").type.list_size
    return (
        images_table(list(kept.values()), [embedding_NE] if places else [], width, encoder.logit_scale),
        anchors,
        rejects,
    )


def _sample_of(row: Mapping[str, Any], task: Task) -> Sample:
    return Sample(
        sample_id=str(row["sample_id"]), image=NO_IMAGE, answer=check_answer(row, task),
        group_id=row.get("group_id") or "", split=row.get("split") or TEST, sha256=row.get("sha256") or "",
    )  # fmt: skip
