"""Benchmark images that the training set holds as well: the same bytes, or the same picture re-encoded or resized.

Hashes and vectors only nominate: nearly blank pictures match each other by the hundred in a perceptual hash, drawn ones
look alike to both, and neighboring slices of one scan are alike and are not copies. So a nominee counts as a copy only
when its pixels agree: the correlation of two small gray copies, which new brightness, contrast and compression leave
near 1. Vectors nominate turned and mirrored pictures as well.
Shapes: N benchmark images, M training images, S side of a small copy, E dimensions of a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from pydantic import Field

from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.training_images import TrainingImages
from biomedica_kedro.images.decode import ANY_SIZE, Pixels, read_pixels
from biomedica_kedro.images.fingerprints import perceptual_hash
from biomedica_kedro.records import DataError, Options

CONTAMINATION = pa.schema(
    [
        ("task", pa.string()), ("sample_id", pa.string()), ("training_key", pa.string()), ("evidence", pa.string()),
        ("distance", pa.int32()), ("correlation", pa.float32()),
    ]
)  # fmt: skip
SAME_BYTES, SAME_PICTURE, TURNED_PICTURE = "same bytes", "same picture", "turned picture"
_SIDE = 32
_FLAT = 2.0  # gray levels: a small copy with less spread shows nothing that could be compared
_COMPARED_AT_ONCE = 20_000_000
_OPENED_AT_ONCE = 64
_REMEMBERED = 10_000  # small copies of training images, 4 kB each

Small = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
Encode: TypeAlias = Callable[[Sequence[Image.Image]], npt.NDArray[Any]]


class ContaminationOptions(Options):
    """When a training image counts as a copy.

    Attributes:
        max_distance: bits in which two perceptual hashes may differ for one image to be compared with the other.
        min_similarity: cosine of two image vectors from which on they are compared; None leaves vectors out.
        nominees: training images an image is compared with at most, by hash and by vector each.
        min_correlation: of the gray levels of two pictures of 32 x 32, for one to be the other's copy.
    """

    max_distance: int = Field(default=10, ge=0, le=20)
    min_similarity: float | None = Field(default=None, gt=0, le=1)
    nominees: int = Field(default=5, ge=1)
    min_correlation: float = Field(default=0.985, gt=0, le=1)


@dataclass(slots=True)
class _Looks:
    """What is kept of a task's images."""

    sample_ids: list[str] = field(default_factory=list)
    sha256: list[str] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    smalls: list[Small] = field(default_factory=list)
    vectors: list[npt.NDArray[Any]] = field(default_factory=list)


def find_copies(
    task_id: str,
    samples: TaskSamples,
    training: TrainingImages,
    options: ContaminationOptions,
    encode: Encode | None = None,
) -> list[dict[str, object]]:
    """Training images that are copies of a task's images.

    Args:
        task_id: of the task.
        samples: its images; those that cannot be opened are passed over (rejects of `benchmark_embeddings`).
        training: the images trained on.
        options: when a likeness counts.
        encode: the encoder the training images' vectors are of; None leaves vectors out.
    Returns:
        Rows of `CONTAMINATION`, sorted: at most one per sample, the same bytes before the best likeness.
    """
    looks = _look(samples, encode if options.min_similarity is not None else None)
    by_bytes = training.by_bytes(looks.sha256)
    rows = [
        _row(task_id, sample_id, by_bytes[sha256], SAME_BYTES, 0, 1.0)
        for sample_id, sha256 in zip(looks.sample_ids, looks.sha256, strict=True)
        if sha256 in by_bytes
    ]
    by_hash, by_vector = _near_hashes(looks, training, options), _near_vectors(looks, training, options)
    pictures = training.pictures(key for found in (by_hash, by_vector) for keys in found.values() for key in keys)
    known = lru_cache(_REMEMBERED)(lambda key: small_copy(pictures[key].open()))
    for at, sample_id in enumerate(looks.sample_ids):
        if looks.sha256[at] not in by_bytes:
            found = _confirm(looks.smalls[at], by_hash.get(at, ()), by_vector.get(at, ()), known)
            if found is not None and found[2] >= options.min_correlation:
                key, evidence, correlation = found
                distance = (looks.hashes[at] ^ pictures[key].phash).bit_count()
                rows.append(_row(task_id, sample_id, key, evidence, distance, correlation))
    return sorted(rows, key=lambda row: str(row["sample_id"]))


def small_copy(image: Image.Image) -> Small:
    """S x S gray levels of an image, without their mean and of length 1; zeros for a picture of one gray."""
    gray = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0).convert("L")
    centered_SS = np.asarray(gray, dtype=np.float32)
    centered_SS = centered_SS - centered_SS.mean()
    if centered_SS.std() < _FLAT:
        return np.zeros_like(centered_SS)
    return np.asarray(centered_SS / np.linalg.norm(centered_SS), dtype=np.float32)


def _look(samples: TaskSamples, encode: Encode | None) -> _Looks:
    looks, seen = _Looks(), set[str]()
    for rows in samples.rows(_OPENED_AT_ONCE):
        images = []
        for row in rows:
            sample_id, pixels = str(row.get("sample_id")), _pixels(row)
            if pixels is None or sample_id in seen:
                continue
            seen.add(sample_id)
            images.append(Image.fromarray(pixels))
            looks.sample_ids.append(sample_id)
            looks.sha256.append(row.get("sha256") or hashlib.sha256(row["image"]).hexdigest())
        looks.hashes += [int(perceptual_hash(image), 16) for image in images]
        looks.smalls += [small_copy(image) for image in images]
        looks.vectors += list(encode(images)) if encode and images else []
    return looks


def _pixels(row: Mapping[str, Any]) -> Pixels | None:
    try:
        return read_pixels(row.get("image") or b"", ANY_SIZE)
    except DataError:
        return None


def _near_hashes(looks: _Looks, training: TrainingImages, options: ContaminationOptions) -> dict[int, list[str]]:
    """Keys of the training images nearest by hash, nearest first."""
    query_N, known_M = np.array(looks.hashes, np.uint64), training.hashes
    near: dict[int, list[str]] = {}
    chunk = max(1, _COMPARED_AT_ONCE // max(1, len(known_M)))
    for start in range(0, len(query_N) if len(known_M) else 0, chunk):
        distance_CM = np.bitwise_count(query_N[start : start + chunk, None] ^ known_M[None, :])
        for offset in np.flatnonzero((distance_CM <= options.max_distance).any(1)):
            close = np.flatnonzero(distance_CM[offset] <= options.max_distance)
            order = close[np.argsort(distance_CM[offset, close], kind="stable")][: options.nominees]
            near[start + int(offset)] = [str(training.keys[int(at)].as_py()) for at in order]
    return near


def _near_vectors(looks: _Looks, training: TrainingImages, options: ContaminationOptions) -> dict[int, list[str]]:
    """Keys of the training images nearest by vector; a part of the training set is in memory at a time."""
    if not looks.vectors or options.min_similarity is None:
        return {}
    query_NE = _unit(np.stack(looks.vectors))
    best: dict[int, list[tuple[float, str]]] = {}
    for keys, vectors in training.vectors():
        similarity_NM = query_NE @ _unit(vectors).T
        for at, column in zip(*np.nonzero(similarity_NM >= options.min_similarity), strict=True):
            best.setdefault(int(at), []).append((-float(similarity_NM[at, column]), keys[column]))
        best = {at: sorted(found)[: options.nominees] for at, found in best.items()}
    return {at: [key for _, key in found] for at, found in best.items()}


def _confirm(
    small_SS: Small, by_hash: Sequence[str], by_vector: Sequence[str], known: Callable[[str], Small]
) -> tuple[str, str, float] | None:
    """The nominee whose pixels agree best: its key, the evidence, the correlation."""
    found = []
    for key in dict.fromkeys((*by_hash, *by_vector)):
        known_SS = known(key)
        found.append((key, SAME_PICTURE, float((small_SS * known_SS).sum())))
        if key in by_vector:
            turned = max(float((small_SS * other_SS).sum()) for other_SS in _turned(known_SS))
            found.append((key, TURNED_PICTURE, turned))
    return max(found, key=lambda nominee: nominee[2]) if found else None


def _turned(small_SS: Small) -> Iterator[Small]:
    """The other seven ways to lay a picture on a square."""
    for image_SS in (small_SS, small_SS.T):
        for turns in range(4):
            if turns or image_SS is not small_SS:
                yield np.rot90(image_SS, turns)


def _unit(rows_NE: npt.NDArray[Any]) -> Vectors:
    rows = np.asarray(rows_NE, dtype=np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _row(task_id: str, sample_id: str, key: str, evidence: str, distance: int, correlation: float) -> dict[str, object]:
    values = (task_id, sample_id, key, evidence, distance, correlation)
    return dict(zip(CONTAMINATION.names, values, strict=True))
