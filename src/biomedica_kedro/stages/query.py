"""Ask tables larger than memory by SQL: DuckDB over the Parquet files, columns by name, what does not fit on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from biomedica_kedro.stages.place import Place, scratch_root

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset

MEMORY = "1500MB"
"""What DuckDB may hold before it writes to scratch: a driver's bound is 4 GB, with what Arrow and Python take."""

ROWS_AT_ONCE = 1 << 17


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own in scratch, with bounded memory; one thread, so that equal input gives equal output."""
    import duckdb

    with (
        TemporaryDirectory(dir=scratch_root()) as folder,
        duckdb.connect(str(Path(folder, "tables.duckdb")), config={"threads": 1}) as connection,
    ):
        connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = '{folder}/spilled'")
        yield connection


def read_as(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table | pyarrow.dataset.Dataset) -> None:
    """Name a table, or the files of one, in a database; of files only the columns that are asked for are read."""
    connection.register(name, table)


def files_of(paths: Sequence[Place], schema: pa.Schema | None = None) -> pyarrow.dataset.Dataset:
    """Parquet files as one table that is read when it is asked; page checksums are verified."""
    import pyarrow.dataset as ds

    scanned = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=scanned)
    if not paths or isinstance(paths[0], Path):
        return ds.dataset([str(path) for path in paths], schema=schema, format=parquet)
    system = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(paths[0].fs))
    return ds.dataset([_path(path) for path in paths], schema=schema, format=parquet, filesystem=system)


def rows_of(relation: Any, rows: int = ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    """The rows of an answer, some at a time."""
    yield from relation.to_arrow_reader(rows)


def _path(path: Place) -> str:
    return str(path) if isinstance(path, Path) else str(path.path)
