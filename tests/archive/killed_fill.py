"""Fills an index one batch a write, notes what it does, and hangs where it is asked to: to be killed there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from biomedica_kedro.archive import index
from biomedica_kedro.archive.rows import ArchiveTables
from biomedica_kedro.stages import BatchFolder

SECONDS = 240


def run_logged(root: Path, log: Path, hang_at: str) -> None:
    """Fill one batch a write; note what is read, marked and indexed, and hang before the one asked for."""
    from lancedb.table import LanceTable

    counts = {"rows": 0, "mark": 0, "index": 0}

    def note(kind: str, told: str) -> None:
        counts[kind] += 1
        with log.open("a") as file:
            file.write(f"{kind} {told}\n")
            if hang_at == f"{kind} {counts[kind]}":
                file.write("hang\n")
                file.flush()
                time.sleep(SECONDS)

    read, mark = ArchiveTables.rows, index._mark
    ArchiveTables.rows = lambda self, batch: note("rows", batch) or read(self, batch)
    index._mark = lambda table, digests: note("mark", " ".join(digests)) or mark(table, digests)
    make = LanceTable.create_index
    LanceTable.create_index = lambda self, column, **how: note("index", column) or make(self, column, **how)
    index.fill(root / "lance", tables_of(root), index.IndexOptions(rows_per_write=1))


def tables_of(root: Path) -> ArchiveTables:
    return ArchiveTables(
        pairs=BatchFolder(root / "image_caption_pairs"), articles=BatchFolder(root / "articles"),
        vectors=BatchFolder(root / "archive_vectors"), labels=BatchFolder(root / "image_labels"),
        samples=BatchFolder(root / "prepared_samples"),
    )  # fmt: skip


if __name__ == "__main__":
    run_logged(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
