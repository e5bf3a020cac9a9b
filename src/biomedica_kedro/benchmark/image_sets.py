"""Images that several tasks share: kept once, opened once, embedded once.

    <root>/<name>/images.parquet    a row an image, told apart by the sha256 of its bytes, in order of first use

A task's rows name the row of the image set (image_row). Files are written and read in row groups, so that memory is
bounded by a few of them. Source: u-Bench asks up to five questions about each of its images (arXiv 2407.01791).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.batches.files import atomic_path

IMAGES = "images.parquet"
IMAGE_ROWS = pa.schema([("sha256", pa.string()), ("image", pa.binary())])
_ROWS_A_GROUP = 64
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
        """Digest of which images there are, in order."""
        names = pq.read_table(self.path, columns=["sha256"])["sha256"].to_pylist()
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def n_rows(self) -> int:
        """Number of images."""
        return int(pq.read_metadata(self.path).num_rows)

    def rows(self, batch_size: int = _ROWS_A_GROUP) -> Iterator[list[dict[str, Any]]]:
        """Hash and bytes of every image in file order, some at a time."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=batch_size):
                yield batch.to_pylist()

    def read(self, wanted: Sequence[int]) -> list[bytes]:
        """Bytes of some images, by row; those that lie together are read together."""
        starts = _starts(self.path, self.path.stat().st_mtime_ns)
        found = []
        for row in wanted:
            group = bisect_right(starts, row) - 1
            images = _group(self.path, self.path.stat().st_mtime_ns, group)
            found.append(images[row - starts[group]].as_py())
        return found


class ImageSetWriter:
    """Collect images, each once; the file appears when the writer is left without an error."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: of the set, which gets `images.parquet`."""
        self._atomic = atomic_path(folder / IMAGES)
        self._row_of: dict[str, int] = {}
        self._waiting: list[dict[str, object]] = []

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._atomic.__enter__(), IMAGE_ROWS, compression="none")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        self._atomic.__exit__(kind, error, trace)

    def add(self, sha256: str, image: bytes) -> int:
        """Row of the image, which is written if it is new."""
        if sha256 not in self._row_of:
            self._row_of[sha256] = len(self._row_of)
            self._waiting.append({"sha256": sha256, "image": image})
            if len(self._waiting) == _ROWS_A_GROUP:
                self._flush()
        return self._row_of[sha256]

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=IMAGE_ROWS))
            self._waiting = []


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
