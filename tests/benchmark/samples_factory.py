"""Tiny samples in interchange form, and an encoder that needs no weights."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from biomedica_kedro.benchmark.samples import PROVENANCE, ROWS, SAMPLES
from biomedica_kedro.benchmark.task import Task


class ColorEncoder:
    """Images embed as their mean color over three bands; texts as a hash: enough to run, nothing learned."""

    reads_text = True
    logit_scale = 20.0
    dimensions = 16

    def prepare(self, image: np.ndarray) -> np.ndarray:
        small = Image.fromarray(image).resize((4, 4)).convert("L")
        return np.asarray(small, dtype=np.float32).ravel() - 100.0

    def encode_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return _normalised(np.stack(prepared))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        return _normalised(np.stack([np.random.default_rng(seed).normal(size=16) for seed in seeds]))


def png(color: tuple[int, int, int], *, mode: str = "RGB", size: int = 24, seed: int | None = None) -> bytes:
    image = Image.new("RGB", (size, size), color)
    if seed is not None:
        noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
    sink = io.BytesIO()
    image.convert(mode).save(sink, "PNG")
    return sink.getvalue()


def write_samples(root: Path, task_id: str, rows: Sequence[dict[str, Any]], *, provenance: bytes | None = None) -> Path:
    folder = root / task_id
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{name: row.get(name) for name in SAMPLES.names} for row in rows], schema=SAMPLES)
    pq.write_table(table, folder / ROWS)
    if provenance is not None:
        (folder / PROVENANCE).write_bytes(provenance)
    return folder


def class_rows(task: Task, per_class: int) -> list[dict[str, Any]]:
    rows = []
    for at, cls in enumerate(task.classes):
        for number in range(per_class):
            image = png((0, 0, 0), seed=at * 1000 + number)
            name = f"{cls.name}-{number}".replace(" ", "_")
            rows.append(
                {
                    "sample_id": name, "image": image, "label": at, "label_name": cls.name, "group_id": f"PMC{number}",
                    "caption": f"{cls.words} {number}", "sha256": hashlib.sha256(image).hexdigest(),
                }
            )  # fmt: skip
    return rows


def _normalised(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
