"""Samples as Parquet with the images in it: the second format of the published BIOMEDICA data.

A row is a sample of a shard: key, image, caption, and the fields of its record as typed columns. Readers that know
nothing of tars open it: pandas, DuckDB, Daft, Lance, and HF datasets, whose `Image` is the struct of bytes and path.
Row groups hold a number of samples and not of bytes, so that a page of a viewer is one read.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.shards.features import IMAGE, hub_features
from biomedica_kedro.shards.fields import record_fields

SUFFIX = ".parquet"


def embedded_schema(record: pa.Schema) -> pa.Schema:
    """Schema of the table; its metadata tell HF datasets which column is the image.

    Args:
        record: fields of the record; see `selection.record_schema`.
    """
    columns = pa.schema([("key", pa.string()), ("image", IMAGE), ("caption", pa.string()), *record])
    return columns.with_metadata({"huggingface": orjson.dumps({"info": {"features": hub_features(columns)}})})


class EmbeddedWriter:
    """Write samples into one file; memory holds one row group."""

    def __init__(self, path: Path, rows_per_group: int) -> None:
        """Args: path: is written; rows_per_group: samples of a row group."""
        self._path = path
        self._rows_per_group = rows_per_group
        self._rows: list[dict[str, Any]] = []
        self._file: pq.ParquetWriter | None = None

    def add(self, key: str, image: bytes, caption: str, record: dict[str, Any]) -> None:
        """Append one sample; all must have the record of one profile."""
        self._rows.append({"key": key, "image": {"bytes": image, "path": f"{key}.jpg"}, "caption": caption, **record})
        if len(self._rows) == self._rows_per_group:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._file = self._opened(embedded_schema(record_fields(self._rows[0] if self._rows else ())))
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._file.schema))
        self._rows = []

    def _opened(self, schema: pa.Schema) -> pq.ParquetWriter:
        # Images are compressed already: a codec would only cost time.
        codecs = {leaf: "none" if leaf == "image.bytes" else "zstd" for field in schema for leaf in _leaves(field)}
        repeated = [name for name in schema.names if name not in ("key", "image", "caption")]
        return pq.ParquetWriter(
            self._path, schema, compression=codecs, write_page_checksum=True, use_dictionary=repeated
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and (self._rows or self._file is None):
            self._flush()
        if self._file is not None:
            self._file.close()


def _leaves(field: pa.Field, prefix: str = "") -> list[str]:
    path = f"{prefix}{field.name}"
    if pa.types.is_struct(field.type):
        return [leaf for child in field.type for leaf in _leaves(child, f"{path}.")]
    if pa.types.is_list(field.type):
        return _leaves(pa.field("element", field.type.value_type), f"{path}.list.")
    return [path]
