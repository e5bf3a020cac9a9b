"""Claims: k-means out of core takes bounded memory and about scikit-learn's time; components are exact and cheap.

    python benchmarks/annotation.py [--rows 2000000] [--clusters 2000] [--dimensions 64] [--pca-rows 60000]

Rows are synthetic: a mixture of ten times as many blobs as clusters are asked for, as float16 on disk. Each arm runs in
a process of its own, which reports CPU seconds and highest memory; both k-means arms assign every row in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from biomedica_kedro.batches import Batch, BatchFolder, plan_batches
from biomedica_kedro.labels.clusters import ClusterOptions, Floats, assign, fit_centroids
from biomedica_kedro.labels.embedding import embedding_table, stream_vectors
from biomedica_kedro.labels.projection import gather_moments, project

ROWS_OF_PMC = 24_000_000
ROWS_PER_BATCH = 20_000
PCA_DIMENSIONS = 384
PCA_COMPONENTS = 45
LLOYD_PASSES = 2


def write_rows(folder: Path, rows: int, clusters: int, dimensions: int) -> None:
    """Batches of embeddings on disk."""
    count = -(-rows // ROWS_PER_BATCH)
    sizes = {f"{i:04d}": min(ROWS_PER_BATCH, rows - i * ROWS_PER_BATCH) for i in range(count)}
    parameters = {"blobs": clusters * 10, "dimensions": dimensions}
    (output,) = plan_batches(
        _write_batch, stage="rows", outputs=["embeddings"], parameters=parameters, slices={"size": sizes}
    )
    output.deliver(BatchFolder(folder))


def _write_batch(batch: Batch, parameters: dict[str, int]) -> dict:
    centers = np.random.default_rng(0).normal(size=(parameters["blobs"], parameters["dimensions"]))
    rng = np.random.default_rng([1, int(batch.name)])
    size = batch.inputs["size"]
    rows = centers[rng.integers(len(centers), size=size)] + 0.5 * rng.normal(size=(size, parameters["dimensions"]))
    keys = [f"PMC{batch.name}-{i}" for i in range(size)]
    return {"embeddings": embedding_table(keys, rows)}


def ours_clusters(folder: Path, rows: int, clusters: int) -> float:
    """Out of core: fit in passes over the files, then assign batch by batch. Mean squared distance."""
    embeddings = BatchFolder(folder)
    options = ClusterOptions(clusters=clusters, lloyd_passes=LLOYD_PASSES)

    def chunks() -> Iterator[Floats]:
        return (v.astype(np.float32) for v in stream_vectors(embeddings, embeddings.names(), options.rows_per_chunk))

    centroids = fit_centroids(chunks, rows, options)
    return sum(float(np.square(assign(chunk, centroids).distance, dtype=np.float64).sum()) for chunk in chunks()) / rows


def sklearn_clusters(folder: Path, rows: int, clusters: int) -> float:
    """Everything in memory."""
    from sklearn.cluster import MiniBatchKMeans

    embeddings = BatchFolder(folder)
    everything = np.concatenate([v.astype(np.float32) for v in stream_vectors(embeddings, embeddings.names(), 65536)])
    model = MiniBatchKMeans(clusters, random_state=0, n_init=1).fit(everything)
    return float(model.inertia_) / rows


def ours_components(folder: Path, rows: int, clusters: int) -> list[float]:
    """Streamed covariance."""
    embeddings = BatchFolder(folder)
    fitted = project(gather_moments(stream_vectors(embeddings, embeddings.names(), 16384)), PCA_COMPONENTS)
    return fitted.variance[:PCA_COMPONENTS].tolist()


def incremental_components(folder: Path, rows: int, clusters: int) -> list[float]:
    """scikit-learn's IncrementalPCA over the same chunks."""
    from sklearn.decomposition import IncrementalPCA

    embeddings, model = BatchFolder(folder), IncrementalPCA(PCA_COMPONENTS)
    for chunk in stream_vectors(embeddings, embeddings.names(), 5 * PCA_DIMENSIONS):  # scikit-learn's default
        if len(chunk) >= PCA_COMPONENTS:
            model.partial_fit(chunk.astype(np.float64))
    return model.explained_variance_.tolist()


def full_components(folder: Path, rows: int, clusters: int) -> list[float]:
    """The reference: singular values of everything in memory."""
    embeddings = BatchFolder(folder)
    everything = np.concatenate(list(stream_vectors(embeddings, embeddings.names(), 65536))).astype(np.float64)
    values = np.linalg.svd(everything - everything.mean(0), compute_uv=False)
    return (values[:PCA_COMPONENTS] ** 2 / (rows - 1)).tolist()


ARMS = {
    arm.__name__: arm
    for arm in (ours_clusters, sklearn_clusters, ours_components, incremental_components, full_components)
}


def run_arm(name: str, folder: Path, rows: int, clusters: int) -> dict:
    """One arm in a process of its own."""
    command = [sys.executable, __file__, "--arm", name, str(folder), str(rows), str(clusters)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure(name: str, folder: Path, rows: int, clusters: int) -> dict:
    """What an arm's process reports."""
    import sklearn.cluster
    import sklearn.decomposition  # noqa: F401  # imports are no part of the work

    started, wall = time.process_time(), time.perf_counter()
    result = ARMS[name](folder, rows, clusters)
    return {
        "result": result,
        "cpu_s": round(time.process_time() - started, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "highest_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    }


def main() -> None:
    """Run the arms and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--pca-rows", type=int, default=60_000)
    parser.add_argument("--arm", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        name, folder, rows, clusters = options.arm
        print(json.dumps(measure(name, Path(folder), int(rows), int(clusters))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        rows, wide = Path(scratch) / "rows", Path(scratch) / "wide"
        write_rows(rows, options.rows, options.clusters, options.dimensions)
        arms = {
            name: run_arm(name, rows, options.rows, options.clusters) for name in ("ours_clusters", "sklearn_clusters")
        }
        write_rows(wide, options.pca_rows, 20, PCA_DIMENSIONS)
        parts = {name: run_arm(name, wide, options.pca_rows, 0) for name in list(ARMS)[2:]}
    report = summarize(options, arms, parts)
    path = Path(__file__).parent / "results" / "annotation.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def summarize(options: argparse.Namespace, arms: dict, parts: dict) -> dict:
    """Ratios beside the numbers they come from."""
    exact = np.array(parts["full_components"].pop("result"))
    errors = {
        name: float(np.abs(np.array(part.pop("result")) / exact - 1).max())
        for name, part in parts.items()
        if "result" in part
    }
    ours, theirs = arms["ours_clusters"], arms["sklearn_clusters"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "k_means": {
            "rows": options.rows, "dimensions": options.dimensions, "clusters": options.clusters,
            "lloyd_passes": LLOYD_PASSES, **arms,
            "cpu_ratio": round(ours["cpu_s"] / theirs["cpu_s"], 3),
            "mean_squared_distance_ratio": round(ours["result"] / theirs["result"], 4),
            "projected_core_hours_for_24M": round(ours["cpu_s"] / options.rows * ROWS_OF_PMC / 3600, 2),
        },
        "components": {
            "rows": options.pca_rows, "dimensions": PCA_DIMENSIONS, "kept": PCA_COMPONENTS, **parts,
            "largest_relative_error": errors,
            "cpu_of_incremental_over_ours": round(
                parts["incremental_components"]["cpu_s"] / parts["ours_components"]["cpu_s"], 1
            ),
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
