"""A tiny training set: shards, their metadata, and the images' vectors."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from biomedica_kedro.benchmark.training_images import TrainingImages
from biomedica_kedro.images.fingerprints import perceptual_hash
from biomedica_kedro.labels.encoders import DescriptorEncoder
from biomedica_kedro.records import DATASET_METADATA, embedding_schema, to_table
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard
from biomedica_kedro.stages import BatchFolder

SHARD = "biomedica-commercial-train-000000"


def write_training(root: Path, images: Mapping[str, bytes], held_out: frozenset[str] = frozenset()) -> TrainingImages:
    shards, metadata, embeddings = (BatchFolder(root / name) for name in ("shards", "metadata", "embeddings"))
    for folder in (shards, metadata, embeddings):
        folder.path.mkdir(parents=True)
    samples = [Sample(key, content, "png", "A figure.", {"key": key}) for key, content in images.items()]
    places = write_shard(shards.file(SHARD, ".tar"), samples)
    opened = {key: Image.open(io.BytesIO(content)).convert("RGB") for key, content in images.items()}
    rows = [
        {
            "key": key, "sha256": hashlib.sha256(images[key]).hexdigest(), "phash": perceptual_hash(opened[key]),
            "split": "test" if key in held_out else "train", "shard": f"{SHARD}.tar", "offset": place.offset,
            "n_bytes": place.n_bytes,
        }
        for key, place in zip(images, places, strict=True)
    ]  # fmt: skip
    vectors = DescriptorEncoder().encode(list(opened.values())) if opened else np.zeros((0, 1), np.float16)
    table = pa.Table.from_pylist(
        [{"key": key, "embedding": vector.tolist()} for key, vector in zip(images, vectors, strict=True)],
        schema=embedding_schema(vectors.shape[1]),
    )
    metadata.write_table("one", to_table(rows, DATASET_METADATA))
    embeddings.write_table("one", table)
    for folder, name, file in (
        (shards, SHARD, shards.file(SHARD, ".tar")),
        (metadata, "one", metadata.file("one")),
        (embeddings, "one", embeddings.file("one")),
    ):
        folder.finish({name: folder.write_commit(name, inputs="x", rows=len(rows), rejects={}, files=[file])})
    return TrainingImages(metadata, shards, embeddings)
