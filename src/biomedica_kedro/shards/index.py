"""What is known of shards and samples without opening a shard, and choosing samples by a condition on it.

A condition is SQL on the columns of `dataset_metadata`; DuckDB reads only the columns it names, and only the row groups
that can match. What comes back is small: for each chosen sample its shard, offset and length.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import DATASET_METADATA, Split
from biomedica_kedro.shards.hints import check_values, hint_of_error
from biomedica_kedro.shards.places import (
    DEFAULT_ACCESS,
    SUFFIX,
    SUFFIXES,
    Access,
    Url,
    file_system,
    list_files,
    list_shards,
    patiently,
)
from biomedica_kedro.shards.reader import Reading, ShardError, read_entries
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.stages import BatchFolder

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset

# What a shard holds, withdrawn samples included, with the digest of each sample's content.
SHARD_CONTENTS = DATASET_METADATA.append(pa.field("content", pa.string()))

# Folders of shards and of metadata: as published, and as the pipeline leaves them.
LAYOUTS = (("shards", "metadata"), ("dataset_shards", "dataset_metadata"))

REPACK = "read it sequentially, or repack it with `python -m biomedica_kedro.shards convert`"
_ROWS_A_BATCH = 1_000_000
_CHECKSUM = "checksum"
_UNKNOWN = np.int64(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where chosen samples lie: arrays, so that 24 million rows fit in memory and are cheap to send to a worker.

    Attributes:
        shards: URLs, or paths.
        shard: for each sample which of `shards` holds it.
        offset: first byte of its run of members.
        n_bytes: length of the run.
        weight: expected appearances in an epoch; 1 when not given.
        checksum: CRC-32 of each run; -1 where it is not known.
    """

    shards: list[str]
    shard: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    n_bytes: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    checksum: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", [str(shard) for shard in self.shards])
        if len(self.weight) != len(self.shard):
            object.__setattr__(self, "weight", np.ones(len(self.shard), np.float32))
        if len(self.checksum) != len(self.shard):
            object.__setattr__(self, "checksum", np.full(len(self.shard), _UNKNOWN))

    @classmethod
    def of(cls, manifest: pa.Table, split: Split, shards: Url) -> Places:
        """The samples of a split of a training manifest.

        Args:
            manifest: with the columns shard (without its suffix), offset, n_bytes, split and weight.
            split: train or validation.
            shards: folder of the tar files.
        """
        rows = manifest.filter(pc.equal(manifest["split"], split.value))
        names = rows["shard"].combine_chunks().dictionary_encode()
        return cls(
            [f"{str(shards).rstrip('/')}/{name}{SUFFIX}" for name in names.dictionary.to_pylist()],
            names.indices.to_numpy(zero_copy_only=False).astype(np.int32),
            rows["offset"].to_numpy(),
            rows["n_bytes"].to_numpy(),
            rows["weight"].to_numpy().astype(np.float32),
            _known(rows["checksum"]) if _CHECKSUM in rows.column_names else np.empty(0, np.int64),
        )

    def __len__(self) -> int:
        return len(self.shard)

    def digest(self) -> str:
        """Digest of which samples these are, wherever the shards lie."""
        names = "\n".join(url.rpartition("/")[2] for url in self.shards)
        digest = hashlib.sha256(names.encode())
        for column in (self.shard, self.offset, self.n_bytes):
            digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()[:32]


def locate(
    urls: Url | Sequence[Url],
    *,
    metadata: Url | None = None,
    where: str | None = None,
    access: Access = DEFAULT_ACCESS,
) -> Places:
    """Find the samples to read, in order of shard and offset.

    Args:
        urls: a folder that holds shards and their metadata (see `LAYOUTS`); a folder of shards, with `metadata`; or
            shards one by one or by a pattern, which are then read once for their samples; see `places.list_shards`.
        metadata: folder of the metadata table, or of the index that `python -m biomedica_kedro.shards index` made.
        where: SQL condition on the columns of the metadata table.
        access: how the places are reached.
    Raises:
        FileNotFoundError: when there are no shards, or no metadata for `where`.
        ValueError: when the condition is not valid.
    """
    if isinstance(urls, str | Path):
        found = table_of(str(urls), access) if metadata is None else (str(urls), str(metadata))
        if found is not None:
            return _select(*found, where, access)
    if where is not None:
        raise FileNotFoundError("a condition needs the metadata table: give its folder as `metadata`")
    return _scan(list_shards(urls, access), access)


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
    return _query(metadata, where, columns, DEFAULT_ACCESS).read_all()


def _query(
    metadata: BatchFolder | Url, where: str | None, columns: Sequence[str], access: Access
) -> pa.RecordBatchReader:
    """The rows, batch by batch."""
    import duckdb

    url = str(metadata.path if isinstance(metadata, BatchFolder) else metadata)
    rows = _open(url, access)
    try:
        chosen = rows if where is None else rows.filter(f"({where})")
        projected = chosen.project(", ".join(f'"{name}"' for name in columns or rows.columns))
        reader: pa.RecordBatchReader = projected.to_arrow_reader(_ROWS_A_BATCH)
    except duckdb.Error as error:
        raise ValueError(f"condition {where!r}: {error}\n{hint_of_error(str(error), rows.columns)}") from error
    return reader


def _open(url: Any, access: Access) -> duckdb.DuckDBPyRelation:
    """The metadata table."""
    import duckdb

    files = list_files(url, "*.parquet", access)
    if not files:
        raise FileNotFoundError(f"{url} holds no *.parquet: give the folder of the metadata table")
    connection = duckdb.connect()
    with contextlib.suppress(duckdb.InvalidInputException):  # in Jupyter without ipywidgets there is no bar to silence
        connection.execute("SET enable_progress_bar = false")
    return connection.from_arrow(_remote_table(files, access)) if "://" in url else connection.read_parquet(files)


def _remote_table(files: list[str], access: Access) -> pyarrow.dataset.Dataset:
    """A table DuckDB pushes columns and conditions down to, over any file system of fsspec."""
    import pyarrow.dataset

    system = file_system(files[0], access)[0]
    return pyarrow.dataset.dataset(
        [system._strip_protocol(file) for file in files], format="parquet", filesystem=system
    )


def _select(shards: str, metadata: str, where: str | None, access: Access) -> Places:
    numbers: dict[str, int] = {}
    parts: list[tuple[Any, Any, Any, Any]] = []
    has_checksums = _CHECKSUM in _open(metadata, access).columns
    wanted = ["shard", "offset", "n_bytes", *([_CHECKSUM] if has_checksums else [])]
    for batch in _query(metadata, where, wanted, access):
        names = batch["shard"].dictionary_encode()
        known = [numbers.setdefault(name, len(numbers)) for name in names.dictionary.to_pylist()]
        shard = np.array(known, dtype=np.int32)[names.indices.to_numpy()]
        checksum = _known(batch[_CHECKSUM]) if has_checksums else np.full(len(shard), _UNKNOWN)
        parts.append((shard, batch["offset"].to_numpy(), batch["n_bytes"].to_numpy(), checksum))
    if where is not None and not numbers:
        check_values(_open(metadata, access), where)
    listed = sorted(numbers)
    rank = np.empty(len(listed), dtype=np.int32)
    rank[[numbers[name] for name in listed]] = np.arange(len(listed), dtype=np.int32)
    empty = (np.empty(0, np.int32), *(np.empty(0, np.int64) for _ in range(3)))
    shard, offset, n_bytes, checksum = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    shard = rank[shard]
    order = np.lexsort((offset, shard))
    # An index of shards in several folders holds whole URLs.
    urls = [name if "/" in name else f"{shards.rstrip('/')}/{name}" for name in listed]
    return Places(urls, shard[order], offset[order], n_bytes[order], checksum=checksum[order])


def _known(checksum: Any) -> npt.NDArray[np.int64]:
    """A column of checksums as numbers."""
    return np.asarray(pc.fill_null(checksum, int(_UNKNOWN)).to_numpy(zero_copy_only=False), dtype=np.int64)


def _scan(urls: list[str], access: Access) -> Places:
    """Places of the samples that can be used, from one pass over the shards."""
    rows: list[tuple[int, int, int]] = []
    for number, url in enumerate(urls):
        for entry in read_entries(url, Reading(columns=()), access):
            if not entry.is_place:
                raise ShardError(f"{url} is compressed, or its members lie apart: {REPACK}")
            if isinstance(entry.value, Sample):
                rows.append((number, entry.place.offset, entry.place.n_bytes))
    columns: Any = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Places(urls, columns[0].astype(np.int32), columns[1], columns[2])


def table_of(url: str, access: Access = DEFAULT_ACCESS) -> tuple[str, str] | None:
    """Folders of the shards and of the metadata below a folder; None when it is no data set of ours."""
    if url.lower().endswith(SUFFIXES) or "*" in url or "{" in url:
        return None
    system, path = file_system(url, access)
    for shards, metadata in LAYOUTS:
        if patiently(access, system.isdir, f"{path.rstrip('/')}/{shards}"):
            return f"{url.rstrip('/')}/{shards}", f"{url.rstrip('/')}/{metadata}"
    return None
