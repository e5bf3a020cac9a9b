"""Principal components of all embeddings in one pass: streamed, exact, mergeable over batches.

Source: BIOMEDICA section 3 (25 components in the paper, 45 in its code). A streamed covariance sees every row once and
leaves nothing out, unlike incremental PCA, for an order of magnitude less arithmetic; benchmarks/annotation.py measures
both. Products of float16 vectors are taken in float32, blocks of them summed in float64.
"""

# Shapes: N images, D dimensions of the embedding, C components.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import Options
from biomedica_kedro.stages.place import Place

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

PROJECTION = "projection.safetensors"
"""File beside the table of `projection`."""

_BLOCK = 4096  # rows whose products are summed in float32: rounding stays below 1e-6 of the largest eigenvalue


class ProjectionOptions(Options):
    """How many principal components are kept.

    Attributes:
        components: 25 in the paper.
        rows_per_chunk: rows held in memory at once; part of the result, by the order of its sums.
    """

    components: int = Field(default=25, ge=1)
    rows_per_chunk: int = Field(default=16384, ge=1)


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and scatter matrix of vectors; adding two gives the moments of both sets together."""

    count: int
    mean: Doubles
    scatter: Doubles

    @classmethod
    def of(cls, vectors_ND: npt.NDArray[Any]) -> Self:
        """Moments of the rows of a matrix; float16 rows are multiplied as float32, float64 rows as float64."""
        count, n_dimensions = vectors_ND.shape
        block_BD = np.empty((min(count, _BLOCK), n_dimensions), np.result_type(vectors_ND.dtype, np.float32))
        center = vectors_ND[:_BLOCK].mean(axis=0, dtype=np.float64).astype(block_BD.dtype)
        total = np.zeros(n_dimensions)
        scatter = np.zeros((n_dimensions, n_dimensions))
        for start in range(0, count, _BLOCK):
            rows = vectors_ND[start : start + _BLOCK]
            part = block_BD[: len(rows)]
            np.copyto(part, rows)
            part -= center
            total += part.sum(axis=0, dtype=np.float64)
            scatter += part.T @ part
        offset = total / count
        return cls(count, center + offset, scatter - count * np.outer(offset, offset))

    def __add__(self, other: Moments) -> Moments:
        """Chan, Golub and LeVeque's pairwise update."""
        count = self.count + other.count
        difference = other.mean - self.mean
        between = np.outer(difference, difference) * (self.count * other.count / count)
        mean = self.mean + difference * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)


@dataclass(frozen=True, slots=True)
class Projection:
    """Mean, principal axes and variances of a set of embeddings.

    Attributes:
        mean: float32.
        axes: float32, orthonormal columns, largest variance first.
        variance: float64, variance along every axis, kept or not, largest first.
        count: number of embeddings it was computed from.
    """

    mean: Floats
    axes: Floats
    variance: Doubles
    count: int

    def apply(self, vectors_ND: npt.NDArray[Any]) -> Floats:
        """Project embeddings: float32 [N, C]."""
        projected = (vectors_ND.astype(np.float32) - self.mean) @ self.axes
        return np.asarray(projected, dtype=np.float32)

    def explained(self) -> pa.Table:
        """Variance of every component, its share, the cumulative share, and whether the component is kept."""
        share = self.variance / max(float(self.variance.sum()), 1e-300)
        n_kept = self.axes.shape[1]
        return pa.table(
            {
                "component": np.arange(1, len(share) + 1, dtype=np.int32),
                "variance": self.variance,
                "share": share,
                "cumulative_share": np.cumsum(share),
                "is_kept": np.arange(len(share)) < n_kept,
            }
        )

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        from safetensors.numpy import save_file

        tensors = {"mean": self.mean, "axes": self.axes, "variance": self.variance}
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file({**contiguous, "count": np.array([self.count], dtype=np.int64)}, path)

    @classmethod
    def load(cls, path: Place) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load

        tensors = load(path.read_bytes())
        return cls(tensors["mean"], tensors["axes"], tensors["variance"], int(tensors["count"][0]))


def gather_moments(chunks: Iterable[npt.NDArray[Any]]) -> Moments:
    """Moments of all rows of all chunks.

    Raises:
        ValueError: when there are no rows.
    """
    total: Moments | None = None
    for chunk in chunks:
        moments = Moments.of(chunk)
        total = moments if total is None else total + moments
    if total is None:
        raise ValueError("no image could be embedded: see the rejects of the data set image_embeddings for the reasons")
    return total


def project(moments: Moments, components: int) -> Projection:
    """Principal axes from moments.

    Args:
        moments: of all embeddings.
        components: axes to keep; at most as many as the embeddings have dimensions.
    Returns:
        The projection; each axis points to where its largest entry is positive, so the result is unique.
    """
    values, vectors = np.linalg.eigh(moments.scatter / max(moments.count - 1, 1))
    order = np.argsort(-values, kind="stable")
    axes = vectors[:, order[: min(components, len(order))]]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(np.take_along_axis(axes, largest[None, :], axis=0) < 0, -1.0, 1.0)
    return Projection(
        moments.mean.astype(np.float32), axes.astype(np.float32), np.maximum(values[order], 0.0), moments.count
    )
