"""Files in an object store, fsspec's memory standing for one: read, written and worked on as in a folder."""

from __future__ import annotations

import pickle
from pathlib import Path
from uuid import uuid4

import fsspec
import pyarrow as pa
import pytest
from obstore.fsspec import FsspecStore

from biomedica_kedro.datasets.drawn import draw
from biomedica_kedro.records import REJECTS, DataError, RejectReason, to_table
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import FileRecord, put, remove, write_json
from biomedica_kedro.stages.object_stores import S3, _Store
from biomedica_kedro.stages.parquet import count_rows, read_parquet, write_parquet
from biomedica_kedro.stages.place import (
    Listed,
    NotLocalError,
    as_local,
    entries,
    local,
    local_copy,
    place,
    read_files,
    read_listed,
)
from biomedica_kedro.stages.query import database, files_of, read_as, rows_of
from biomedica_kedro.stages.ranges import RangeReader
from biomedica_kedro.stages.run import Work
from biomedica_kedro.stages.stage import Batch, stage


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("BIOMEDICA_SCRATCH", str(tmp_path / "scratch"))
    return place(f"memory://{uuid4().hex}")


def refuse_odd(number: int) -> dict[str, object]:
    if number % 2:
        raise DataError(RejectReason.NO_CAPTION, "odd")
    return {"source": str(number), "stage": "", "reason": "", "detail": ""}


@stage(version=1)
def halve(batch: Batch):
    with batch.open_beside("rows", "archive.bin") as file:
        file.write(batch.name.encode() * 1000)
    return {"rows": to_table(batch.map(refuse_odd, batch.inputs["numbers"], source=str), REJECTS)}


def run(folder) -> Work:
    cut = {f"{batch:04d}": {"numbers": list(range(batch, batch + 5))} for batch in range(3)}
    return Work(function=halve, outputs={"rows": BatchFolder(folder / "rows")}, cut=cut)


def contents(folder) -> dict[str, bytes]:
    found = {}
    for name, n_bytes in entries(folder):
        inner = contents(folder / name) if n_bytes is None else {"": (folder / name).read_bytes()}
        found |= {f"{name}/{key}".rstrip("/"): content for key, content in inner.items()}
    return found


def test_stage_leaves_the_same_bytes_in_a_store_and_in_a_folder(root, tmp_path):
    (there,), (here,) = run(root).run(), run(tmp_path / "here").run()
    assert there == here
    assert contents(root) == contents(tmp_path / "here")
    assert not list((tmp_path / "scratch").rglob("*.tmp"))


def test_second_run_in_a_store_computes_nothing_and_a_lost_file_is_made_again(root):
    (first,) = run(root).run()
    (second,) = run(root).run()
    assert (first.computed, second.computed, second.rejects) == (3, 0, first.rejects)
    remove(root / "rows" / "_archive" / "0001.bin")
    (third,) = run(root).run()
    assert third.computed == 1


def test_what_a_killed_run_left_is_removed_when_the_data_set_is_complete(root):
    write_json(root / "rows" / "_commits" / "0009.json", {})
    put_text(root / "rows" / "_archive" / "0009.bin")
    run(root).run()
    assert not any("0009" in name for name in contents(root))


def put_text(path) -> None:
    path.fs.pipe_file(path.path, b"text")


def test_watched_batch_names_its_items_where_every_machine_sees_them(root):
    outputs = {"rows": BatchFolder(root / "rows")}
    batch = Batch("0000", "halve", {"numbers": []}, outputs, "digest").watched()
    seen = []

    def look(number: int) -> int:
        seen.append(batch.without_last_item().quarantine)
        return number

    batch.map(look, [4, 6], source=str)
    assert seen == [{"4"}, {"6"}]
    assert batch.note_try()
    assert batch.without_last_item() is None


def test_watching_is_not_needed_in_a_folder(tmp_path):
    outputs = {"rows": BatchFolder(tmp_path / "rows")}
    assert not Batch("0000", "halve", {}, outputs, "digest").watched().is_watched


def test_small_files_are_read_together_and_absent_ones_told(root, tmp_path):
    for number in range(50):
        put_text(root / f"{number}.json")
    found = read_files([root / f"{number}.json" for number in range(51)])
    assert found == [b"text"] * 50 + [None]
    assert read_files([tmp_path / "no.json"]) == [None]
    assert entries(root / "no") == entries(tmp_path / "no") == []


def test_listed_file_is_fetched_again_only_when_its_tag_has_changed(root):
    files = {"a.json": Listed(4, "1"), "b.json": Listed(4, None)}
    for name in files:
        put_text(root / name)
    assert read_listed(root, files) == [b"text", b"text"]
    for name in files:
        (root / name).fs.pipe_file((root / name).path, b"more")
    assert read_listed(root, files) == [b"text", b"more"]
    assert read_listed(root, {"a.json": Listed(4, "2"), "no.json": Listed(4, "1")}) == [b"more", None]


class InMemory(_Store):
    protocol = "memory"


def test_store_lists_all_below_a_folder_as_fsspec_does_folder_by_folder():
    store = InMemory()
    for name in ("rows/0000.parquet", "rows/_commits/0000.json", "rows/_a/b/c.bin", "rows2/0000.parquet"):
        store.pipe_file(name, b"text")
    found = store.find("rows", detail=True)
    assert sorted(found) == store.find("rows") == sorted(FsspecStore.find(store, "rows", maxdepth=9))
    assert [one["size"] for one in found.values()] == [4, 4, 4]
    assert all(one["e_tag"] for one in found.values())


def test_commit_records_of_a_store_are_those_of_its_listing(root):
    run(root).run()
    folder = BatchFolder(root / "rows")
    put_text(root / "rows" / "_archive" / "deep" / "0000.bin")
    assert sorted(folder.commits()) == folder.names() == ["0000", "0001", "0002"]
    put_text(root / "rows" / "_archive" / "0001.bin")
    assert sorted(folder.commits()) == ["0000", "0002"]


def test_copy_follows_the_file_it_is_of(root, tmp_path):
    (tmp_path / "a.txt").write_text("one")
    put(tmp_path / "a.txt", root / "a.txt")
    first = local_copy(root / "a.txt")
    assert local_copy(root / "a.txt") == first
    (tmp_path / "a.txt").write_text("other")
    put(tmp_path / "a.txt", root / "a.txt")
    assert local_copy(root / "a.txt").read_text() == "other"
    with as_local(root / "a.txt") as here:
        assert here.read_text() == "other"
    assert not here.exists()
    assert local_copy(tmp_path / "a.txt") == tmp_path / "a.txt"


@pytest.mark.parametrize("where", ["store", "folder"])
def test_ranges_come_in_the_order_they_were_asked_for(root, tmp_path, where):
    folder = root if where == "store" else tmp_path
    for name in "ab":
        (folder / name).write_bytes(name.encode() * 10)
    with RangeReader() as reader:
        assert reader.read([(folder / "b", 2, 3), (folder / "a", 0, 0), (folder / "a", 9, 1)]) == [b"bbb", b"", b"a"]
        assert reader.read([]) == []
        with pytest.raises(OSError, match="ends before byte 12"):
            reader.read([(folder / "a", 8, 4)])


def test_what_needs_a_folder_is_refused_by_name(root, tmp_path):
    assert local(tmp_path, "anything") == tmp_path
    with pytest.raises(NotLocalError, match=r"memory://.*the labeling page needs a folder"):
        local(root, "the labeling page")


def test_three_protocols_are_served_by_obstore_in_any_process():
    assert fsspec.get_filesystem_class("s3") is S3
    assert all(issubclass(fsspec.get_filesystem_class(name), FsspecStore) for name in ("gs", "az"))
    assert pickle.loads(pickle.dumps(place("s3://bucket/root"))) == place("s3://bucket/root")
    assert isinstance(place("file:///tmp/x"), Path)


def test_rows_piece_by_piece_give_the_bytes_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("biomedica_kedro.stages.parquet._ROWS_OF_GROUP", 100)
    table = pa.table({"n": range(1234)})
    pieces = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=37))
    assert write_parquet(tmp_path / "a.parquet", table) == write_parquet(tmp_path / "b.parquet", pieces)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert count_rows(tmp_path / "b.parquet") == 1234
    assert FileRecord.of(tmp_path / "a.parquet").n_bytes == (tmp_path / "a.parquet").stat().st_size


def test_files_of_a_store_are_asked_by_sql(root):
    paths = [root / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(paths):
        write_parquet(path, pa.table({"n": [number, number], "text": ["long"] * 2}))
    assert read_parquet(paths[1], ["n"]).to_pydict() == {"n": [1, 1]}
    with database() as connection:
        read_as(connection, "files", files_of(paths))
        (rows,) = rows_of(connection.sql("SELECT sum(n) AS total FROM files WHERE n > 0"))
    assert rows.to_pydict() == {"total": [6]}


def test_drawn_folder_is_copied_once_and_replaced_by_another_drawing(root):
    drawing = {"a.txt": b"a", "folder/b.txt": b"b", "done.json": b"1"}

    def write(folder: Path) -> None:
        for name, content in drawing.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    draw(write, root / "corpus", "done.json")
    assert contents(root / "corpus") == drawing
    remove(root / "corpus" / "a.txt")
    draw(write, root / "corpus", "done.json")
    assert "a.txt" not in contents(root / "corpus")
    drawing["done.json"] = b"2"
    put_text(root / "corpus" / "old.txt")
    draw(write, root / "corpus", "done.json")
    assert contents(root / "corpus") == drawing
