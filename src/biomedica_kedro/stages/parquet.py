"""Parquet files as they are written and read here: whole or absent, with a checksum a page so that rot is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.stages.files import FileRecord, atomic_path
from biomedica_kedro.stages.place import Place, read_file

_ROWS_OF_GROUP = 1 << 20

Rows: TypeAlias = pa.Table | pa.RecordBatchReader
"""A table, or its rows piece by piece where they do not fit in memory."""


def read_parquet(path: Place, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file as a table, page checksums verified."""
    if isinstance(path, Path):
        return pq.read_table(path, columns=columns, page_checksum_verification=True, partitioning=None)
    if columns is None:  # in one request
        return pq.read_table(pa.BufferReader(read_file(path)), page_checksum_verification=True)
    with path.open("rb") as file:
        return pq.read_table(file, columns=columns, page_checksum_verification=True, pre_buffer=True)


def count_rows(path: Place) -> int:
    """Number of rows of a Parquet file."""
    with path.open("rb") as file:
        return int(pq.read_metadata(file).num_rows)


def read_rows(path: Place, start: int, n_rows: int) -> pa.Table:
    """Some rows of a Parquet file; only the row groups that hold them are read."""
    with path.open("rb") as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        ends = np.cumsum([reader.metadata.row_group(n).num_rows for n in range(reader.num_row_groups)])
        first, last = np.searchsorted(ends, [start, start + max(n_rows, 1) - 1], side="right")
        table = reader.read_row_groups(list(range(int(first), min(int(last) + 1, len(ends)))))
        return table.slice(start - int(ends[first - 1] if first else 0), n_rows)


def write_parquet(path: Place, table: Rows) -> FileRecord:
    """Write a table atomically, with page checksums so that rot is noticed on reading; gives its record.

    The bytes do not depend on whether the rows come as a table or one piece after the other.
    """
    # A dictionary of the numbers of vectors saves nothing and triples the time to read them.
    has_vectors = any(pa.types.is_fixed_size_list(field.type) for field in table.schema)
    with atomic_path(path) as temporary:
        options = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": not has_vectors}
        with pq.ParquetWriter(temporary, table.schema, **options) as writer:
            for rows in _row_groups(table):
                writer.write_table(rows, row_group_size=_ROWS_OF_GROUP)
        return FileRecord.of(temporary)


def _row_groups(table: Rows) -> Iterator[pa.Table]:
    """Tables of a row group each."""
    if isinstance(table, pa.Table):
        yield table
        return
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in table:
        while n_waiting + batch.num_rows >= _ROWS_OF_GROUP:
            n_rows = _ROWS_OF_GROUP - n_waiting
            yield pa.Table.from_batches([*waiting, batch.slice(0, n_rows)], table.schema)
            batch, waiting, n_waiting = batch.slice(n_rows), [], 0
        waiting.append(batch)
        n_waiting += batch.num_rows
    yield pa.Table.from_batches(waiting, table.schema)
