from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biomedica_kedro.benchmark.row_writer import ROWS_A_GROUP, RowWriter

SCHEMA = pa.schema([("number", pa.int64())])


def test_rows_are_written_a_group_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.parquet"
    with RowWriter(path, SCHEMA, "zstd") as writer:
        for number in range(ROWS_A_GROUP + 1):
            writer.add({"number": number})
        assert not path.exists()
    assert pq.read_table(path)["number"].to_pylist() == list(range(ROWS_A_GROUP + 1))
    assert pq.read_metadata(path).num_row_groups == 2


def test_error_on_the_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"before")
    with pytest.raises(KeyError), RowWriter(path, SCHEMA, "none") as writer:
        writer.add({"number": 1})
        raise KeyError("a bad row")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
