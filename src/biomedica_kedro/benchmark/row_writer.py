"""Rows into a Parquet file, a row group of them at a time: the file appears when it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.stages.files import atomic_path

ROWS_A_GROUP = 64


class RowWriter:
    """Collect rows; memory is bounded by a row group, and an error on the way leaves the place as it was."""

    def __init__(self, path: Path, schema: pa.Schema, compression: str) -> None:
        """Args: path: of the file; schema: of the rows; compression: as Parquet names it, "none" for none."""
        self._schema, self._compression = schema, compression
        self._atomic = atomic_path(path)
        self._waiting: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._atomic.__enter__(), self._schema, compression=self._compression)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        self._atomic.__exit__(kind, error, trace)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        self._waiting.append(row)
        if len(self._waiting) == ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []
