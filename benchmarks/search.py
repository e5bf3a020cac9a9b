"""How long a hybrid search over a million pairs takes on 2 CPU cores, and what its index takes; goal: p95 of 100 ms.

    python benchmarks/search.py [--rows 1000000] [--dimensions 512] [--index hnsw] [--folder FOLDER]

Builds the index as `index_archive` does from synthetic pairs (captions of 30 words of 50,000, by Mandelbrot's law of
word frequencies; vectors around 2,000 centers), then measures searches by words and a vector, half of them with a
condition, the recall at 10 of the vector part against comparing every vector, peak memory, and what 24 million pairs
would take in proportion. The time a model takes to read the words is not part of it.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from report import machine, write_result

from biomedica_kedro.archive.index import SAMPLES, IndexOptions, VectorIndex, connect, fill
from biomedica_kedro.archive.rows import row_schema
from biomedica_kedro.archive.search import CANDIDATES, Archive

ROWS_PER_BATCH = 25_000
N_WORDS, N_CENTERS, CAPTION_WORDS = 50_000, 2_000, 30
N_STOP_WORDS = 100
PMC = 24_000_000
QUERIES = 200
WHERE = "license_group = 'commercial' AND list_contains(primary_labels, 'Microscopy')"
NOTE = f"""A search is hybrid: three words by BM25 in three columns, and a vector. Words follow Mandelbrot's law,
1 / (rank + 2.7); those asked for begin at rank {N_STOP_WORDS}: an index of English leaves out what comes before. The
condition is
`{WHERE}`. Recall is of the vector index against comparing every vector, which is what is done below
`index_archive.exact_below` pairs. The model's time to read the words is not part of it."""
CONCEPTS = ("Plots and Charts", "Microscopy", "Clinical Imaging", "Illustrative Diagrams", "Maps")


@dataclass
class SyntheticTables:
    """Stands where `ArchiveTables` stands: rows of a batch are drawn from a seed of its own."""

    n_rows: int
    dimensions: int

    def digests(self) -> dict[str, str]:
        """Batches."""
        return {f"{batch:04d}": "synthetic" for batch in range(-(-self.n_rows // ROWS_PER_BATCH))}

    def rows(self, batch: str) -> pa.Table:
        """Rows of a batch."""
        start = int(batch) * ROWS_PER_BATCH
        n, random = min(ROWS_PER_BATCH, self.n_rows - start), np.random.default_rng([1, int(batch)])
        words = np.array([f"w{word}" for word in range(N_WORDS)])
        drawn = words[random.choice(N_WORDS, (n, CAPTION_WORDS), p=frequencies())]
        vectors = vectors_of(random, n, self.dimensions)
        schema = row_schema(self.dimensions)
        columns = {
            "key": [f"k{start + row}" for row in range(n)],
            "article_id": [f"PMC{(start + row) // 4}.1" for row in range(n)],
            "batch": [batch] * n,
            "caption": [" ".join(row) for row in drawn],
            "mentions": [" ".join(row[::-1]) for row in drawn],
            "title": [" ".join(row[:8]) for row in drawn],
            "journal": [f"Journal {journal}" for journal in random.integers(0, 3000, n)],
            "publication_date": [f"{year}-06-01" for year in random.integers(2000, 2026, n)],
            "license_group": random.choice(["commercial", "noncommercial", "other"], n, p=[0.6, 0.3, 0.1]).tolist(),
            "panel_type": random.choice(["single", "multiple"], n).tolist(),
            "primary_labels": [[concept] for concept in random.choice(CONCEPTS, n)],
            "secondary_labels": [[] for _ in range(n)],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dimensions),
        }
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(n, field.type)
            for field in schema
        ]
        return pa.table(arrays, schema=schema)


def frequencies(n_left_out: int = 0) -> np.ndarray:
    """Share of each word, float64 [N_WORDS]: 1 / (rank + 2.7), none for the first so many."""
    shares = 1.0 / (np.arange(1, N_WORDS + 1) + 2.7)
    shares[:n_left_out] = 0.0
    return shares / shares.sum()


def vectors_of(random: np.random.Generator, n: int, dimensions: int) -> np.ndarray:
    """float16 [n, dimensions] of length 1 around the same centers."""
    centers = np.random.default_rng(0).normal(size=(N_CENTERS, dimensions))
    vectors = centers[random.integers(0, N_CENTERS, n)] + 0.7 * random.normal(size=(n, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def main() -> None:
    """Build, ask, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--index", type=VectorIndex, default=VectorIndex.HNSW)
    parser.add_argument("--folder", type=Path, default=Path("data/.benchmark_search"))
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    tables = SyntheticTables(given.rows, given.dimensions)
    started, cpu = time.perf_counter(), time.process_time()
    fill(given.folder, tables, IndexOptions(vector_index=given.index))  # type: ignore[arg-type]
    built, built_cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{given.rows:,} pairs indexed in {built:.0f} s", flush=True)
    seconds = {
        "of all": latencies(given.folder, tables, None),
        "with a condition": latencies(given.folder, tables, WHERE),
    }
    n_bytes = sum(path.stat().st_size for path in given.folder.rglob("*") if path.is_file())
    rows = [
        {
            "pairs": f"{given.rows:,}",
            "vectors": f"{given.dimensions}, {given.index.value}",
            "build": f"{built:.0f} s ({built_cpu:.0f} s CPU)",
            **{f"p50, p95 {name} (CPU)": percentiles(found) for name, found in seconds.items()},
            "recall at 10": f"{recall(given.folder, tables):.3f}",
            "disk": f"{n_bytes / 1e9:.2f} GB",
            "peak memory": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB",
            "24 million in proportion": projection(built_cpu, n_bytes, given.rows),
        }
    ]
    shutil.rmtree(given.folder)
    described = f"`python benchmarks/search.py --rows {given.rows}`, {machine()}."
    write_result("search", "Searching the archive", described, rows, NOTE)


def percentiles(seconds: list[tuple[float, float]]) -> str:
    """Median and 95th percentile, of the wall's time and of the processors'."""
    wall, cpu = (
        " ".join(f"{1e3 * float(np.percentile(of, q)):.0f}" for q in (50, 95)) for of in zip(*seconds, strict=True)
    )
    return f"{wall} ms ({cpu} ms)"


def projection(cpu_seconds: float, n_bytes: int, rows: int) -> str:
    """What the whole of PMC would take."""
    return f"{cpu_seconds / rows * PMC / 3600:.1f} h CPU, {n_bytes / rows * PMC / 1e9:.0f} GB disk"


def latencies(folder: Path, tables: SyntheticTables, where: str | None) -> list[tuple[float, float]]:
    """Seconds, on the wall and of the processors, of each hybrid search, after ten to warm up."""
    archive, random = opened(folder, tables), np.random.default_rng(7)
    found = []
    for query in range(QUERIES + 10):
        words = " ".join(f"w{word}" for word in random.choice(N_WORDS, 3, p=frequencies(N_STOP_WORDS)))
        archive.reader.vector = vectors_of(random, 1, tables.dimensions)[0].astype(np.float32)  # type: ignore[union-attr]
        started, cpu = time.perf_counter(), time.process_time()
        archive.search(words, where=where, limit=20)
        if query >= 10:
            found.append((time.perf_counter() - started, time.process_time() - cpu))
    return found


def recall(folder: Path, tables: SyntheticTables) -> float:
    """Share of the ten nearest vectors that are the first ten of what a search takes from the index, 50 queries."""
    archive, random, shares = opened(folder, tables), np.random.default_rng(8), []
    for _ in range(50):
        vector = vectors_of(random, 1, tables.dimensions)[0].astype(np.float32)
        got = {row["_rowid"] for row in archive.by_vector(vector, None, CANDIDATES)[:10]}
        exact = archive.table.search(vector).distance_type("cosine").bypass_vector_index().with_row_id(True).limit(10)
        shares.append(len(got & {row["_rowid"] for row in exact.select(["key"]).to_list()}) / 10)
    return float(np.mean(shares))


class GivenReader:
    """Reads any words as the vector that was set."""

    reads_text = True
    vector: np.ndarray

    def of_words(self, words: str) -> np.ndarray:
        """The vector."""
        return self.vector

    def of_image(self, pixels: np.ndarray) -> np.ndarray:
        """The vector."""
        return self.vector


def opened(folder: Path, tables: SyntheticTables) -> Archive:
    """The archive with a reader that takes no time."""
    return Archive(connect(folder).open_table(SAMPLES), pa.table({}), GivenReader())


if __name__ == "__main__":
    main()
