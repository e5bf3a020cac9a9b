"""What is known of shards and samples without opening a shard, and choosing samples by a condition on it.

A condition is SQL on the columns of `dataset_metadata`; DuckDB reads only the columns it names, and only the row groups
that can match. What comes back is small: for each chosen sample its shard, offset and length.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from fsspec.core import url_to_fs

from biomedica_kedro.records import DATASET_METADATA
from biomedica_kedro.shards.writer import SUFFIX
from biomedica_kedro.stages import BatchFolder

if TYPE_CHECKING:
    import pyarrow.dataset

# What a shard holds, withdrawn samples included, with the digest of each sample's content.
SHARD_CONTENTS = DATASET_METADATA.append(pa.field("content", pa.string()))

# Folders of shards and of metadata: as published, and as the pipeline leaves them.
LAYOUTS = (("shards", "metadata"), ("dataset_shards", "dataset_metadata"))

Url = str | Path

_ROWS_A_BATCH = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where chosen samples lie; small, and cheap to send to a worker.

    Attributes:
        shards: URLs.
        shard: for each sample which of `shards` holds it.
        offset: first byte of its run of members.
        n_bytes: length of the run.
    """

    shards: list[str]
    shard: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    n_bytes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.shard)

    def digest(self) -> str:
        """Digest of which samples these are, wherever the shards lie."""
        names = "\n".join(url.rpartition("/")[2] for url in self.shards)
        digest = hashlib.sha256(names.encode())
        for column in (self.shard, self.offset, self.n_bytes):
            digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()[:32]


def locate(urls: Url | Sequence[Url], *, metadata: Url | None = None, where: str | None = None) -> Places:
    """Find the samples to read, in order of shard and offset.

    Args:
        urls: a folder that holds shards and their metadata (see `LAYOUTS`); a folder of shards, with `metadata`; or
            shards one by one, which are then scanned once for their samples. Anything fsspec opens.
        metadata: folder of the metadata table.
        where: SQL condition on the columns of the metadata table.
    Raises:
        FileNotFoundError: when there are no shards, or no metadata for `where`.
        ValueError: when the condition is not valid.
    """
    if isinstance(urls, str | Path):
        shards, table = (str(urls), str(metadata)) if metadata is not None else _layout(str(urls))
        if table is not None:
            return _select(shards, table, where)
        urls = _glob(shards, f"*{SUFFIX}")
    if where is not None:
        raise FileNotFoundError("a condition needs the metadata table: give its folder as `metadata`")
    return _scan([str(url) for url in urls])


def select_samples(metadata: BatchFolder | Url, where: str | None = None, columns: Sequence[str] = ()) -> pa.Table:
    """Rows of the metadata table that meet a condition.

    Args:
        metadata: folder of the table's Parquet files.
        where: SQL condition; None takes every row.
        columns: columns wanted; all when empty.
    Raises:
        FileNotFoundError: when the folder holds no table.
        ValueError: when the condition is not valid; names the columns there are.
    """
    return _query(metadata, where, columns).read_all()


def _query(metadata: BatchFolder | Url, where: str | None, columns: Sequence[str]) -> pa.RecordBatchReader:
    """The rows, batch by batch."""
    import duckdb

    url = str(metadata.path if isinstance(metadata, BatchFolder) else metadata)
    files = _glob(url, "*.parquet")
    connection = duckdb.connect()
    with contextlib.suppress(duckdb.InvalidInputException):  # in Jupyter without ipywidgets there is no bar to silence
        connection.execute("SET enable_progress_bar = false")
    rows = connection.from_arrow(_remote_table(files)) if "://" in url else connection.read_parquet(files)
    try:
        chosen = rows if where is None else rows.filter(f"({where})")
        projected = chosen.project(", ".join(f'"{name}"' for name in columns or rows.columns))
        reader: pa.RecordBatchReader = projected.to_arrow_reader(_ROWS_A_BATCH)
    except duckdb.Error as error:
        raise ValueError(f"condition {where!r}: {error}\ncolumns are {', '.join(rows.columns)}") from error
    return reader


def _remote_table(files: list[str]) -> pyarrow.dataset.Dataset:
    """A table DuckDB pushes columns and conditions down to, over any file system of fsspec."""
    import pyarrow.dataset

    system = url_to_fs(files[0])[0]
    return pyarrow.dataset.dataset(
        [system._strip_protocol(file) for file in files], format="parquet", filesystem=system
    )


def _select(shards: str, metadata: str, where: str | None) -> Places:
    numbers: dict[str, int] = {}
    parts: list[tuple[Any, Any, Any]] = []
    for batch in _query(metadata, where, ["shard", "offset", "n_bytes"]):
        names = batch["shard"].dictionary_encode()
        known = [numbers.setdefault(name, len(numbers)) for name in names.dictionary.to_pylist()]
        shard = np.array(known, dtype=np.int32)[names.indices.to_numpy()]
        parts.append((shard, batch["offset"].to_numpy(), batch["n_bytes"].to_numpy()))
    listed = sorted(numbers)
    rank = np.empty(len(listed), dtype=np.int32)
    rank[[numbers[name] for name in listed]] = np.arange(len(listed), dtype=np.int32)
    empty = (np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))
    shard, offset, n_bytes = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    shard = rank[shard]
    order = np.lexsort((offset, shard))
    urls = [f"{shards.rstrip('/')}/{name}" for name in listed]
    return Places(urls, shard[order], offset[order], n_bytes[order])


def _scan(urls: list[str]) -> Places:
    """Places from the headers of the tars alone."""
    if not urls:
        raise FileNotFoundError("no shards were given")
    rows: list[tuple[int, int, int]] = []
    for number, url in enumerate(urls):
        with fsspec.open(url, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            start: int | None = None
            for member in tar:
                start = member.offset if start is None else start
                if member.name.partition(".")[2] == "json":
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    rows.append((number, start, end - start))
                    start = None
    columns: Any = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Places(urls, columns[0].astype(np.int32), columns[1], columns[2])


def _layout(url: str) -> tuple[str, str | None]:
    if url.endswith(SUFFIX) or "*" in url:
        return url, None
    system, path = url_to_fs(url)
    for shards, metadata in LAYOUTS:
        if system.isdir(f"{path.rstrip('/')}/{shards}"):
            return f"{url.rstrip('/')}/{shards}", f"{url.rstrip('/')}/{metadata}"
    return url, None


def _glob(url: str, pattern: str) -> list[str]:
    """Files of a folder, or that a pattern names, sorted, as URLs."""
    system, path = url_to_fs(url)
    is_pattern = "*" in path or path.endswith(SUFFIX)
    found = sorted(system.glob(path if is_pattern else f"{path.rstrip('/')}/{pattern}"))
    if not found:
        raise FileNotFoundError(f"{url} holds no {pattern}: give the folder of the shards or of the metadata table")
    return [system.unstrip_protocol(file) for file in found] if "://" in url else found
