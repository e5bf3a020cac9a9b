"""Claim: a condition over the metadata of 24 million samples answers in seconds and within 4 GB, no shard opened.

    python benchmarks/filtering.py [--rows 24000000] [--folder FOLDER]

Writes synthetic metadata in the columns and file layout of `dataset_metadata` (one Parquet file per shard of 10,000
would be 2,400 files; here a file holds 100,000 rows), then runs each condition in a process of its own, from the call
to the places of all chosen samples in memory, and writes wall time, CPU time and peak resident memory. Every process is
the first to read the files: they are put out of the page cache before it (posix_fadvise).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from report import machine, write_result

from biomedica_kedro.records import DATASET_METADATA
from biomedica_kedro.shards.index import locate

ROWS_PER_FILE = 100_000
CONDITIONS = (
    "primary_label = 'Microscopy' and license_group = 'commercial'",
    "list_contains(secondary_labels, 'x-ray radiography')",
    "list_contains(secondary_labels, 'x-ray radiography') and publication_date >= '2020' and width >= 512",
    "caption ilike '%fluorescence%' and split = 'train'",
    "true",
)
# Shares of images per concept: BIOMEDICA's table of concepts.
LABELS = {
    "Plots and Charts": 51.5, "Illustrative Diagrams": 12.1, "Microscopy": 10.5, "Clinical Imaging": 8.0,
    "Chemical Structures": 4.7, "Immuno Assays": 3.8, "Tables": 2.7, "Graphs and Networks": 2.2, "Maps": 1.3,
    "Tools and Materials": 3.2,
}  # fmt: skip
SECONDARY = ("plot", "light microscopy", "x-ray radiography", "flowchart", "table", "immunoblot", "map", "2D mesh")
WORDS = ("cell", "fluorescence", "section", "stained", "arrow", "patient", "control", "expression", "tumor", "mean")


def write_metadata(folder: Path, rows: int) -> None:
    """Files of `ROWS_PER_FILE` rows; every value of a column is drawn anew."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    captions = [" ".join(random.choice(WORDS, 60)) for _ in range(5000)]
    for number, start in enumerate(range(0, rows, ROWS_PER_FILE)):
        table = _rows(random, min(ROWS_PER_FILE, rows - start), start, number, captions)
        pq.write_table(table, folder / f"{number:06d}.parquet", compression="zstd", write_page_checksum=True)


def _rows(random: np.random.Generator, n: int, start: int, number: int, captions: list[str]) -> pa.Table:
    def draw(values: tuple[str, ...] | list[str], p: list[float] | None = None) -> pa.Array:
        return pa.array(values, pa.string()).take(pa.array(random.choice(len(values), n, p=p)))

    shares = np.array(list(LABELS.values()))
    primary = draw(list(LABELS), list(shares / shares.sum()))
    secondary = draw(SECONDARY)
    offsets = pa.array(np.arange(n + 1, dtype=np.int32))
    ids = pc.binary_join_element_wise("PMC", pa.array(np.arange(start, start + n)).cast(pa.string()), "")
    digits = pa.py_buffer(random.bytes(16 * n).hex().encode())
    hashes = pa.StringArray.from_buffers(n, pa.py_buffer(np.arange(0, 32 * n + 1, 32, dtype=np.int32)), digits)
    known = {
        "key": pc.binary_join_element_wise(ids, "1-F1-0", "_"),
        "article_id": pc.binary_join_element_wise(ids, "1", "."),
        "pmcid": ids, "shard": pa.array([f"biomedica-commercial-train-{number:06d}.tar"] * n),
        "offset": pa.array(np.arange(n) * 111_616), "n_bytes": pa.array(random.integers(50_000, 300_000, n)),
        "split": draw(["train", "validation", "test"], [0.9, 0.05, 0.05]),
        "license_group": draw(["commercial", "noncommercial", "other"], [0.65, 0.28, 0.07]),
        "license_code": draw(["CC BY", "CC BY-NC", "CC0"]), "caption": draw(captions), "primary_label": primary,
        "primary_labels": pa.ListArray.from_arrays(offsets, primary), "sha256": hashes, "phash": hashes,
        "secondary_labels": pa.ListArray.from_arrays(offsets, secondary),
        "publication_date": draw([f"{y}-{m:02d}-01" for y in range(2000, 2025) for m in range(1, 13)]),
        "width": pa.array(random.integers(100, 3000, n, dtype=np.int32)),
        "height": pa.array(random.integers(100, 3000, n, dtype=np.int32)),
        "label_confidence": pa.array(random.random(n, dtype=np.float32)),
    }  # fmt: skip
    columns = [known[name].cast(field.type) if name in known else pa.nulls(n, field.type) for name, field in _fields()]
    return pa.table(columns, schema=DATASET_METADATA)


def _fields() -> list[tuple[str, pa.Field]]:
    return list(zip(DATASET_METADATA.names, DATASET_METADATA, strict=True))


def answer(folder: Path, condition: str) -> dict[str, object]:
    """In a process of its own: find the samples, and say what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = locate(folder / "shards", metadata=folder / "metadata", where=condition)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {
        "where": f"`{condition}`", "samples": f"{len(found):,}", "wall s": f"{wall:.1f}", "CPU s": f"{cpu:.1f}",
        "peak GB": f"{peak:.1f}",
    }  # fmt: skip


def forget(folder: Path) -> None:
    """Put the files of a folder out of the page cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> None:
    """Measure and write benchmarks/results/filtering.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=24_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/biomedica-filtering"), help="scratch folder")
    parser.add_argument("--condition", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.condition:
        print(json.dumps(answer(options.folder, options.condition)))
        return
    shutil.rmtree(options.folder, ignore_errors=True)
    metadata = options.folder / "metadata"
    write_metadata(metadata, options.rows)
    size = sum(path.stat().st_size for path in metadata.iterdir())
    rows = []
    for condition in CONDITIONS:
        forget(metadata)
        command = [sys.executable, __file__, "--folder", options.folder, "--condition", condition]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    shutil.rmtree(options.folder)
    described = (
        f"`python benchmarks/filtering.py --rows {options.rows}`, {machine()}; {options.rows:,} synthetic rows, "
        f"{size / 1e9:.1f} GB of Parquet, cold page cache. From the call to the places of all chosen samples, in a "
        "process of its own."
    )
    write_result("filtering", f"Filtering {options.rows:,} rows without opening a shard", described, rows)


if __name__ == "__main__":
    main()
