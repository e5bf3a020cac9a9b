"""k-means over projected embeddings, out of core: seeded, chunk by chunk, continued where it was killed.

Centroids start from k-means++ on a sample. On many rows scikit-learn's MiniBatchKMeans takes them close to the optimum
in part of a pass; then exact Lloyd passes, whose sums add up over chunks, finish. On few rows only Lloyd passes are
made. Source: BIOMEDICA section 3 ("over-clustering", K = 2000).
"""

# Shapes: N images, C components, K clusters.

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import CLUSTER_ASSIGNMENTS, Options
from biomedica_kedro.stages.files import atomic_path
from biomedica_kedro.stages.place import Place

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Chunks = Callable[[], Iterator[Floats]]
"""Starts a pass over all rows, in a fixed order, as float32 [n, C] pieces."""

CENTROIDS = "centroids.safetensors"
"""File beside the table of `cluster_model`."""

_DISTANCES_IN_MEMORY = 1 << 23
_FEW_IMAGES = 200


class ClusterOptions(Options):
    """How images are grouped.

    Attributes:
        clusters: number of clusters, far more than concepts (2000 in the paper); fewer where there are few images.
        images_per_cluster: least mean number of images of a cluster: fewer clusters are made rather.
        seed: of the choice of the first centroids.
        rows_per_chunk: rows of one step.
        sample_per_cluster: rows per cluster that k-means++ chooses the first centroids from.
        patience: mini-batch steps without improvement before they end; 0 makes no such steps.
        lloyd_passes: most exact passes over all rows.
        tolerance: a pass that improves the mean squared distance by less than this share is the last.
    """

    clusters: int = Field(default=200, ge=1)
    images_per_cluster: int = Field(default=5, ge=1)
    seed: int = 0
    rows_per_chunk: int = Field(default=8192, ge=1)
    sample_per_cluster: int = Field(default=5, ge=1)
    patience: int = Field(default=10, ge=0)
    lloyd_passes: int = Field(default=20, ge=0)
    tolerance: float = Field(default=1e-3, ge=0)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Nearest centroid of each row, and the distances to it and to the second nearest."""

    nearest: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    distance: Floats
    second_distance: Floats


def fit_centroids(chunks: Chunks, count: int, options: ClusterOptions, checkpoint: Path | None = None) -> Floats:
    """Centroids of all rows.

    Args:
        chunks: starts a pass over all rows.
        count: number of rows.
        options: see `ClusterOptions`.
        checkpoint: folder where the centroids are kept after every pass, so that a killed fit goes on from there.
    Returns:
        float32 [K, C].
    """
    state = _resume(checkpoint)
    if state is None:
        rng = np.random.default_rng(options.seed)
        centroids_KC = _first_centroids(chunks, count, number_of_clusters(count, options), options, rng)
        if options.patience and count > 10 * options.rows_per_chunk:
            centroids_KC = _mini_batch_steps(chunks, centroids_KC, options)
        state = _keep(checkpoint, _State(0, centroids_KC, np.inf, np.inf))
    while state.passes < options.lloyd_passes and not state.has_converged(options.tolerance):
        centroids_KC, objective = _lloyd_pass(chunks, state.centroids)
        state = _keep(checkpoint, _State(state.passes + 1, centroids_KC, objective, state.objective))
        logger.info("cluster_images: pass %d, mean squared distance %.5g", state.passes, objective)
    return state.centroids


def number_of_clusters(count: int, options: ClusterOptions) -> int:
    """How many clusters so many images make; says so where they are fewer than asked for.

    Args:
        count: number of images.
        options: see `ClusterOptions`.
    """
    fitting = max(1, min(options.clusters, count // options.images_per_cluster))
    if count < _FEW_IMAGES:
        logger.warning(
            "cluster_images: %d images are too few for clusters to mean much: %d are made; labels of single images by "
            "people say more than votes on these",
            count, fitting,
        )  # fmt: skip
    elif fitting < options.clusters:
        logger.warning(
            "cluster_images: %d images make %d clusters instead of %d, %d images each at least on average "
            "(annotation.cluster_images.images_per_cluster)",
            count, fitting, options.clusters, options.images_per_cluster,
        )  # fmt: skip
    return fitting


def assign(rows_NC: Floats, centroids_KC: Floats) -> Assignment:
    """Nearest and second nearest centroid of each row; with one centroid the second is as good as infinitely far."""
    pieces = [_assign_piece(piece, centroids_KC) for piece in _pieces(rows_NC, len(centroids_KC))]
    if not pieces:
        pieces = [_assign_piece(rows_NC, centroids_KC)]
    columns = zip(*((p.nearest, p.second, p.distance, p.second_distance) for p in pieces), strict=True)
    return Assignment(*(np.concatenate(column) for column in columns))


def assignment_table(keys: pa.Array | pa.ChunkedArray, assignment: Assignment) -> pa.Table:
    """Rows of `cluster_assignments`."""
    columns = [
        keys,
        assignment.nearest,
        assignment.distance,
        assignment.second_distance,
    ]
    table = pa.table(dict(zip(CLUSTER_ASSIGNMENTS.names, columns, strict=True)), schema=CLUSTER_ASSIGNMENTS)
    return table.append_column("second_cluster_id", pa.array(assignment.second))


def measure_spread(batches: Iterable[pa.Table], n_clusters: int) -> pa.Table:
    """Size and spread of each cluster, from its images' assignments, batch by batch.

    Returns:
        cluster_id, images, mean_distance and radius: mean plus standard deviation of the distance to the centroid.
    """
    counts = np.zeros(n_clusters, dtype=np.int64)
    sums = np.zeros((2, n_clusters), dtype=np.float64)
    for batch in batches:
        cluster = batch["cluster_id"].to_numpy()
        distance = batch["distance"].to_numpy().astype(np.float64)
        counts += np.bincount(cluster, minlength=n_clusters)
        for power in (1, 2):
            sums[power - 1] += np.bincount(cluster, distance**power, minlength=n_clusters)
    mean, square = sums / np.maximum(counts, 1)
    radius = mean + np.sqrt(np.maximum(square - mean**2, 0.0))
    return pa.table(
        {
            "cluster_id": np.arange(n_clusters, dtype=np.int32),
            "images": counts,
            "mean_distance": mean.astype(np.float32),
            "radius": radius.astype(np.float32),
        }
    )


def save_centroids(path: Path, centroids_KC: Floats) -> None:
    """Write centroids as safetensors."""
    from safetensors.numpy import save_file

    save_file({"centroids": np.ascontiguousarray(centroids_KC)}, path)


def load_centroids(path: Place) -> Floats:
    """Read what `save_centroids` wrote."""
    from safetensors.numpy import load

    centroids: Floats = load(path.read_bytes())["centroids"]
    return centroids


def _first_centroids(
    chunks: Chunks, count: int, n_clusters: int, options: ClusterOptions, rng: np.random.Generator
) -> Floats:
    from sklearn.cluster import kmeans_plusplus

    size = min(count, max(n_clusters * options.sample_per_cluster, options.rows_per_chunk))
    wanted = np.sort(rng.choice(count, size, replace=False))
    sample: list[Floats] = []
    start = 0
    for chunk in chunks():
        low, high = np.searchsorted(wanted, [start, start + len(chunk)])
        sample.append(chunk[wanted[low:high] - start])
        start += len(chunk)
    centroids, _ = kmeans_plusplus(np.concatenate(sample), n_clusters, random_state=int(rng.integers(2**31)))
    return np.asarray(centroids, dtype=np.float32)


def _mini_batch_steps(chunks: Chunks, centroids_KC: Floats, options: ClusterOptions) -> Floats:
    """One pass of MiniBatchKMeans at most; each chunk is judged before it is learnt from, so no row is judged twice."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(
        len(centroids_KC), init=centroids_KC, n_init=1, random_state=options.seed, compute_labels=False
    )
    best, smooth, without_gain = np.inf, None, 0
    for step, chunk in enumerate(chunks()):
        model.partial_fit(chunk)
        if step % 4:
            continue
        cost = float(np.square(assign(chunk[:1024], model.cluster_centers_).distance).mean())
        smooth = cost if smooth is None else 0.7 * smooth + 0.3 * cost
        without_gain = 0 if smooth < best * (1 - options.tolerance) else without_gain + 1
        best = min(best, smooth)
        if without_gain >= options.patience:
            break
    return np.asarray(model.cluster_centers_, dtype=np.float32)


def _lloyd_pass(chunks: Chunks, centroids_KC: Floats) -> tuple[Floats, float]:
    """One exact step of Lloyd's algorithm; an empty cluster moves to the row farthest from its centroid."""
    n_clusters = len(centroids_KC)
    sums = np.zeros(centroids_KC.shape, dtype=np.float64)
    counts = np.zeros(n_clusters, dtype=np.int64)
    objective = 0.0
    far_rows: list[Floats] = []
    far_distances: list[Floats] = []
    for chunk in chunks():
        found = assign(chunk, centroids_KC)
        counts += np.bincount(found.nearest, minlength=n_clusters)
        for column in range(chunk.shape[1]):
            sums[:, column] += np.bincount(found.nearest, chunk[:, column], minlength=n_clusters)
        objective += float(np.square(found.distance, dtype=np.float64).sum())
        farthest = np.argsort(-found.distance, kind="stable")[:n_clusters]
        far_rows, far_distances = _keep_farthest(
            [*far_rows, chunk[farthest]], [*far_distances, found.distance[farthest]], n_clusters
        )
    empty = np.flatnonzero(counts == 0)
    moved = centroids_KC.copy()
    filled = counts > 0
    moved[filled] = (sums[filled] / counts[filled, None]).astype(np.float32)
    moved[empty] = far_rows[0][: len(empty)]
    return moved, objective / max(int(counts.sum()), 1)


def _keep_farthest(rows: list[Floats], distances: list[Floats], limit: int) -> tuple[list[Floats], list[Floats]]:
    all_rows, all_distances = np.concatenate(rows), np.concatenate(distances)
    order = np.argsort(-all_distances, kind="stable")[:limit]
    return [all_rows[order]], [all_distances[order]]


def _pieces(rows_NC: Floats, n_clusters: int) -> Iterator[Floats]:
    step = max(1, _DISTANCES_IN_MEMORY // max(n_clusters, 1))
    for start in range(0, len(rows_NC), step):
        yield rows_NC[start : start + step]


def _assign_piece(rows_NC: Floats, centroids_KC: Floats) -> Assignment:
    partial_NK = np.einsum("kc,kc->k", centroids_KC, centroids_KC) - 2.0 * (rows_NC @ centroids_KC.T)
    everyone = np.arange(len(rows_NC))
    nearest = partial_NK.argmin(axis=1) if len(rows_NC) else np.zeros(0, dtype=np.int64)
    best = partial_NK[everyone, nearest]
    partial_NK[everyone, nearest] = np.inf
    second = partial_NK.argmin(axis=1) if len(rows_NC) else np.zeros(0, dtype=np.int64)
    norm = np.einsum("nc,nc->n", rows_NC, rows_NC)
    runner_up = partial_NK[everyone, second]
    return Assignment(
        nearest.astype(np.int32),
        second.astype(np.int32),
        np.sqrt(np.maximum(best + norm, 0.0)).astype(np.float32),
        np.sqrt(np.maximum(runner_up + norm, 0.0)).astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class _State:
    """A fit after so many passes: everything that decides how it goes on."""

    passes: int
    centroids: Floats
    objective: float
    previous: float

    def has_converged(self, tolerance: float) -> bool:
        return np.isfinite(self.previous) and self.previous - self.objective <= tolerance * self.previous


def _resume(checkpoint: Path | None) -> _State | None:
    from safetensors.numpy import load_file

    kept = sorted(checkpoint.glob("pass-*.safetensors")) if checkpoint is not None else []
    if not kept:
        return None
    tensors = load_file(kept[-1])
    objective, previous = (float(value) for value in tensors["objectives"])
    return _State(int(kept[-1].stem.removeprefix("pass-")), tensors["centroids"], objective, previous)


def _keep(checkpoint: Path | None, state: _State) -> _State:
    from safetensors.numpy import save_file

    if checkpoint is not None:
        objectives = np.array([state.objective, state.previous], dtype=np.float64)
        with atomic_path(checkpoint / f"pass-{state.passes:04d}.safetensors") as path:
            save_file({"centroids": state.centroids, "objectives": objectives}, path)
    return state
