"""Claims: k-means out of core takes bounded memory and scikit-learn's time at most; components are exact and cheap.

    python benchmarks/annotation.py                        # both parts
    python benchmarks/annotation.py k_means --rows 2000000 --clusters 2000 --dimensions 64
    python benchmarks/annotation.py components --rows 200000 --dimensions 1024

Rows are synthetic, float16 on disk as `embed_images` leaves them: for k-means ten times as many blobs as clusters, for
components twenty blobs. Each arm runs in a process of its own, which reports CPU seconds and highest memory; all arms
read the same files, both k-means arms assign every row in the end. A part that runs alone leaves the other's result.
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

from biomedica_kedro.labels.clusters import ClusterOptions, Floats, assign, fit_centroids
from biomedica_kedro.labels.embedding import embedding_table, stream_vectors
from biomedica_kedro.labels.projection import ProjectionOptions, gather_moments, project
from biomedica_kedro.records import Options
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import Work
from biomedica_kedro.stages.stage import Batch, Tables, stage

ROWS_OF_PMC = 24_000_000
ROWS_PER_BATCH = 20_000
COMPONENTS = 25
LLOYD_PASSES = 2
RESULT = Path(__file__).parent / "results" / "annotation.json"
SHAPES = {
    "k_means": {"rows": 2_000_000, "dimensions": 64, "clusters": 2000},
    "components": {"rows": 200_000, "dimensions": 1024, "clusters": 2},  # DINOv2 ViT-L/14: 1,024 dimensions
}
NOTES = {
    "k_means": "Ours stops after the exact passes given below (`cluster_images.lloyd_passes`, 2 in `--env=pmc`).",
    "components": "Ours gives the exact components; the error is that of the eigenvalues against numpy's.",
}


def write_rows(folder: Path, rows: int, clusters: int, dimensions: int) -> None:
    """Batches of embeddings on disk."""
    count = -(-rows // ROWS_PER_BATCH)
    cut = {f"{i:04d}": {"size": min(ROWS_PER_BATCH, rows - i * ROWS_PER_BATCH)} for i in range(count)}
    options = RowOptions(blobs=clusters * 10, dimensions=dimensions)
    Work(function=draw_rows, outputs={"embeddings": BatchFolder(folder)}, options=[options], cut=cut).run()


class RowOptions(Options):
    """What the synthetic rows are drawn around."""

    blobs: int
    dimensions: int


@stage(version=1)
def draw_rows(batch: Batch, options: RowOptions) -> Tables:
    """Rows around centers that are the same in every batch."""
    centers = np.random.default_rng(0).normal(size=(options.blobs, options.dimensions))
    rng = np.random.default_rng([1, int(batch.name)])
    size = batch.inputs["size"]
    rows = centers[rng.integers(len(centers), size=size)] + 0.5 * rng.normal(size=(size, options.dimensions))
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
    """Streamed covariance, with the default chunks of `fit_projection`."""
    embeddings = BatchFolder(folder)
    chunks = stream_vectors(embeddings, embeddings.names(), ProjectionOptions().rows_per_chunk)
    return project(gather_moments(chunks), COMPONENTS).variance[:COMPONENTS].tolist()


def incremental_components(folder: Path, rows: int, clusters: int) -> list[float]:
    """scikit-learn's IncrementalPCA over chunks of its default size, five rows a dimension."""
    from sklearn.decomposition import IncrementalPCA

    embeddings, model = BatchFolder(folder), IncrementalPCA(COMPONENTS)
    for chunk in stream_vectors(embeddings, embeddings.names(), 5 * SHAPES["components"]["dimensions"]):
        if len(chunk) >= COMPONENTS:
            model.partial_fit(chunk.astype(np.float64))
    return model.explained_variance_.tolist()


def exact_components(folder: Path, rows: int, clusters: int) -> list[float]:
    """The reference: float64 covariance about the mean of all rows."""
    embeddings = BatchFolder(folder)
    everything = np.concatenate(list(stream_vectors(embeddings, embeddings.names(), 65536)))
    mean, scatter = everything.mean(axis=0, dtype=np.float64), 0.0
    for start in range(0, rows, ROWS_PER_BATCH):
        centered = everything[start : start + ROWS_PER_BATCH].astype(np.float64) - mean
        scatter = scatter + centered.T @ centered
    return np.linalg.eigvalsh(scatter / (rows - 1))[::-1][:COMPONENTS].tolist()


def reading(folder: Path, rows: int, clusters: int) -> int:
    """What every arm spends on reading."""
    embeddings = BatchFolder(folder)
    return sum(len(v) for v in stream_vectors(embeddings, embeddings.names(), ProjectionOptions().rows_per_chunk))


ARMS = {
    "k_means": (ours_clusters, sklearn_clusters, reading),
    "components": (ours_components, incremental_components, exact_components, reading),
}


def run_part(part: str, shape: dict[str, int]) -> dict:
    """All arms of one part on the same files, each in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "rows"
        write_rows(folder, shape["rows"], shape["clusters"], shape["dimensions"])
        measured = {}
        for arm in ARMS[part]:
            command = [sys.executable, __file__, part, "--arm", arm.__name__, str(folder), json.dumps(shape)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            measured[arm.__name__] = json.loads(output.splitlines()[-1])
            print(arm.__name__, {k: v for k, v in measured[arm.__name__].items() if k != "result"}, flush=True)
    return measured


def measure(part: str, name: str, folder: Path, shape: dict[str, int]) -> dict:
    """What an arm's process reports."""
    import sklearn.cluster
    import sklearn.decomposition  # noqa: F401  # imports are no part of the work

    SHAPES[part] = shape
    arm = next(arm for arm in ARMS[part] if arm.__name__ == name)
    started, wall = time.process_time(), time.perf_counter()
    result = arm(folder, shape["rows"], shape["clusters"])
    return {
        "result": result,
        "cpu_s": time.process_time() - started,
        "wall_s": time.perf_counter() - wall,
        "highest_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    }


def summarize(part: str, shape: dict[str, int], arms: dict) -> dict:
    """Ratios beside the numbers they come from."""
    ratios = summarize_clusters(shape, arms) if part == "k_means" else summarize_components(arms)
    for arm in arms.values():  # after the ratios: a small run takes no hundredth of a second
        arm.update(cpu_s=round(arm["cpu_s"], 2), wall_s=round(arm["wall_s"], 2))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        **shape, **ratios, "arms": arms,
    }  # fmt: skip


def summarize_clusters(shape: dict[str, int], arms: dict) -> dict:
    """Ours against scikit-learn's."""
    ours, theirs = arms["ours_clusters"], arms["sklearn_clusters"]
    return {
        "lloyd_passes": LLOYD_PASSES,
        "cpu_of_ours_over_sklearn": round(ours["cpu_s"] / theirs["cpu_s"], 3),
        "wall_of_ours_over_sklearn": round(ours["wall_s"] / theirs["wall_s"], 3),
        "mean_squared_distance_of_ours_over_sklearn": round(ours["result"] / theirs["result"], 4),
        "projected_core_hours_for_24M": round(ours["cpu_s"] / shape["rows"] * ROWS_OF_PMC / 3600, 2),
    }  # fmt: skip


def summarize_components(arms: dict) -> dict:
    """Ours against scikit-learn's, with reading and without."""
    results = {name: np.array(arm.pop("result")) for name, arm in arms.items()}
    exact, read = results["exact_components"], arms["reading"]["cpu_s"]
    ours, theirs = arms["ours_components"]["cpu_s"], arms["incremental_components"]["cpu_s"]
    return {
        "kept": COMPONENTS,
        "largest_relative_error": {
            name: float(np.abs(results[name] / exact - 1).max())
            for name in ("ours_components", "incremental_components")
        },
        "cpu_of_incremental_over_ours": round(theirs / ours, 1),
        "cpu_of_incremental_over_ours_without_reading": round((theirs - read) / (ours - read), 1),
    }


def write_report(report: dict) -> None:
    """The numbers as JSON, and the claims as a page."""
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    lines = []
    for part, found in report.items():
        lines += [
            f"## {part.replace('_', '-')}: {found['rows']:,} x {found['dimensions']} float16 on disk",
            f"{found['date']}, {found['machine']}, threads: {found['threads']}",
            "",
            "| arm | CPU s | wall s | highest memory GB |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {arm['cpu_s']} | {arm['wall_s']} | {arm['highest_memory_gb']} |"
            for name, arm in found["arms"].items()
        ]
        facts = {k: v for k, v in found.items() if k not in {"date", "machine", "threads", "arms"}}
        lines += ["", NOTES[part], "", *(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()), ""]
    RESULT.with_suffix(".md").write_text("\n".join(lines))


def main() -> None:
    """Run the arms and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *ARMS], default=[], metavar="PART", help=", ".join(ARMS))
    for name in ("rows", "dimensions", "clusters"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--arm", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        name, folder, shape = options.arm
        print(json.dumps(measure(options.parts[0], name, Path(folder), json.loads(shape))))
        return
    report = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    for part in options.parts or ARMS:
        asked = {name: getattr(options, name) for name in SHAPES[part] if getattr(options, name) is not None}
        shape = {**SHAPES[part], **asked}
        report = {**report, part: summarize(part, shape, run_part(part, shape))}
        write_report({part: report[part] for part in ARMS if part in report})
        print(json.dumps(report[part], indent=2))


if __name__ == "__main__":
    main()
