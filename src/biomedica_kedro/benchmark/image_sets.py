"""Images that several tasks share: kept once, opened once, embedded once.

    <root>/<name>/images.parquet    a row an image, told apart by the sha256 of its bytes, in order of first use

A task's rows name their images by that hash, so that a set that was written anew gives the same images or none. Files
are written and read in row groups: memory is bounded by a few of them, and by the hashes. Source: u-Bench asks up to
five questions about each of its images (arXiv 2407.01791).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.row_writer import ROWS_A_GROUP, RowWriter

IMAGES = "images.parquet"
IMAGE_ROWS = pa.schema([("sha256", pa.string()), ("image", pa.binary())])
_GROUPS_HELD = 4


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Handle on the images several tasks share; cheap to make and to send to a worker."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the set: that of its folder."""
        return self.path.parent.name

    def digest(self) -> str:
        """Digest of which images there are, in order; that of none where the file is gone."""
        if not self.path.is_file():
            return hashlib.sha256().hexdigest()
        names = pq.read_table(self.path, columns=["sha256"])["sha256"].to_pylist()
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def n_rows(self) -> int:
        """Number of images."""
        return int(pq.read_metadata(self.path).num_rows)

    def rows(self, batch_size: int = ROWS_A_GROUP) -> Iterator[list[dict[str, Any]]]:
        """Hash and bytes of every image in file order, some at a time; none where the file is gone."""
        if not self.path.is_file():
            return
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=batch_size):
                yield batch.to_pylist()

    def hashes(self) -> Set[str]:
        """Hashes of the images in the set; none where its file is gone."""
        if not self.path.is_file():
            return frozenset()
        return _rows_of(self.path, self.path.stat().st_mtime_ns).keys()

    def read(self, wanted: Sequence[str]) -> list[bytes | None]:
        """Bytes of some images by hash, None for those the set does not hold; neighbors are read together."""
        if not self.path.is_file():
            return [None] * len(wanted)
        modified = self.path.stat().st_mtime_ns
        rows, starts = _rows_of(self.path, modified), _starts(self.path, modified)
        found: list[bytes | None] = []
        for name in wanted:
            row = rows.get(name)
            if row is None:
                found.append(None)
                continue
            group = bisect_right(starts, row) - 1
            found.append(_group(self.path, modified, group)[row - starts[group]].as_py())
        return found


class ImageSetWriter(RowWriter):
    """Collect images, each once; the file appears when the writer is left without an error."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: of the set, which gets `images.parquet`."""
        super().__init__(folder / IMAGES, IMAGE_ROWS, "none")
        self._added: set[str] = set()

    def add_image(self, sha256: str, image: bytes) -> None:
        """Keep an image unless it is kept."""
        if sha256 not in self._added:
            self._added.add(sha256)
            self.add({"sha256": sha256, "image": image})


@lru_cache(maxsize=8)
def _rows_of(path: Path, modified_ns: int) -> dict[str, int]:
    """Row of each image by its hash."""
    names = pq.read_table(path, columns=["sha256"])["sha256"].to_pylist()
    return {name: row for row, name in enumerate(names)}


@lru_cache(maxsize=8)
def _starts(path: Path, modified_ns: int) -> list[int]:
    """First row of each row group."""
    metadata, starts = pq.read_metadata(path), [0]
    for group in range(metadata.num_row_groups - 1):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


@lru_cache(maxsize=_GROUPS_HELD)
def _group(path: Path, modified_ns: int, group: int) -> pa.ChunkedArray:
    with pq.ParquetFile(path, memory_map=True) as file:
        return file.read_row_group(group, columns=["image"])["image"]
