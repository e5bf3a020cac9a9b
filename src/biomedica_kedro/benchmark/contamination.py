"""Benchmark images that the training set holds as well: the same bytes, or the same picture re-encoded or resized.

A perceptual hash says nothing about a nearly blank picture: its bits are noise, and such pictures match each other by
the hundred. So a likeness counts only where both hashes rest on texture: the gray levels of the benchmark image carry
enough information. Likeness by embedding is left out: neighboring slices of one scan are alike and are not copies.
Shapes: N benchmark images, M training images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from pydantic import Field

from biomedica_kedro.records import Options

CONTAMINATION = pa.schema(
    [
        ("task", pa.string()), ("sample_id", pa.string()), ("training_key", pa.string()), ("evidence", pa.string()),
        ("distance", pa.int32()),
    ]
)  # fmt: skip
SAME_BYTES, SAME_PICTURE = "same bytes", "same picture"
_COMPARED_AT_ONCE = 20_000_000


class ContaminationOptions(Options):
    """When a training image counts as a copy.

    Attributes:
        max_distance: bits in which two perceptual hashes may differ.
        min_entropy: bits a pixel of gray levels below which a picture is too blank to be told by its hash.
    """

    max_distance: int = Field(default=6, ge=0, le=20)
    min_entropy: float = Field(default=3.0, ge=0)


def gray_entropy(image: Image.Image) -> float:
    """Information of the gray levels of a 64 x 64 copy, in bits a pixel: 0 for a blank picture, at most 5."""
    counts = np.bincount(np.asarray(image.convert("L").resize((64, 64))).ravel() // 8, minlength=32)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def find_copies(
    task_id: str, images: pa.Table, training: pa.Table, options: ContaminationOptions
) -> list[dict[str, object]]:
    """Training images that are copies of a task's images.

    Args:
        task_id: of the task.
        images: columns sample_id, sha256, phash, entropy.
        training: columns key, sha256, phash of the images trained on.
        options: when a likeness counts.
    Returns:
        Rows of `CONTAMINATION`: at most one per sample, the same bytes before the nearest likeness.
    """
    keys = training["key"].to_pylist()
    by_bytes = dict(zip(training["sha256"].to_pylist(), keys, strict=True))
    training_M = _hashes(training["phash"].to_pylist())
    rows: list[dict[str, object]] = []
    looked_up: list[tuple[str, str]] = []
    for sample in images.select(["sample_id", "sha256", "phash", "entropy"]).to_pylist():
        if sample["sha256"] in by_bytes:
            rows.append(_row(task_id, sample["sample_id"], by_bytes[sample["sha256"]], SAME_BYTES, 0))
        elif sample["entropy"] >= options.min_entropy:
            looked_up.append((sample["sample_id"], sample["phash"]))
    nearest_N, distance_N = _nearest(_hashes([phash for _, phash in looked_up]), training_M)
    for (sample_id, _), nearest, distance in zip(looked_up, nearest_N, distance_N, strict=True):
        if distance <= options.max_distance:
            rows.append(_row(task_id, sample_id, keys[nearest], SAME_PICTURE, int(distance)))
    return sorted(rows, key=lambda row: str(row["sample_id"]))


def _nearest(
    query_N: npt.NDArray[np.uint64], training_M: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Nearest training hash of each query and its distance; in chunks of bounded memory."""
    if not len(training_M):
        return np.zeros(len(query_N), np.intp), np.full(len(query_N), 65)
    nearest, distances = [np.zeros(0, np.intp)], [np.zeros(0, np.int64)]
    chunk = max(1, _COMPARED_AT_ONCE // len(training_M))
    for start in range(0, len(query_N), chunk):
        distance_CM = np.bitwise_count(query_N[start : start + chunk, None] ^ training_M[None, :])
        best = distance_CM.argmin(1)
        nearest.append(best)
        distances.append(distance_CM[np.arange(len(best)), best].astype(np.int64))
    return np.concatenate(nearest), np.concatenate(distances)


def _hashes(texts: Sequence[str | None]) -> npt.NDArray[np.uint64]:
    return np.array([int(text or "0", 16) for text in texts], dtype=np.uint64)


def _row(task_id: str, sample_id: str, key: str, evidence: str, distance: int) -> dict[str, object]:
    values = (task_id, sample_id, key, evidence, distance)
    return dict(zip(CONTAMINATION.names, values, strict=True))
