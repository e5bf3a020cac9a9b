"""The index follows the tables, batch by batch, through changes, removals and kills."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from biomedica_kedro.archive.index import SAMPLES, Filled, IndexOptions, VectorIndex, connect, facet_rows, fill
from biomedica_kedro.archive.rows import count_facets
from tests.archive.small_archive import CAPTIONS, key, write_archive

FILL = Path(__file__).with_name("killed_fill.py")
SECONDS = 120


def rows(place: Path) -> dict[str, str]:
    found = connect(place).open_table(SAMPLES).to_arrow().select(["key", "caption"]).to_pylist()
    assert len({row["key"] for row in found}) == len(found), "a pair is there twice"
    return {row["key"]: row["caption"] for row in found}


def test_every_pair_is_indexed_once_and_a_second_fill_writes_nothing(tmp_path):
    tables = write_archive(tmp_path)

    assert fill(tmp_path / "lance", tables, IndexOptions()) == Filled(written=3, kept=0, removed=0)
    assert fill(tmp_path / "lance", tables, IndexOptions()) == Filled(written=0, kept=3, removed=0)

    assert rows(tmp_path / "lance") == {key(n): caption for n, caption in enumerate(CAPTIONS)}


def test_only_changed_batches_are_written_and_gone_ones_disappear(tmp_path):
    fill(tmp_path / "lance", write_archive(tmp_path / "a"), IndexOptions())

    changed = write_archive(tmp_path / "b", captions={4: "Another caption"}, batches=2)

    assert fill(tmp_path / "lance", changed, IndexOptions()) == Filled(written=1, kept=1, removed=1)
    assert rows(tmp_path / "lance") == {
        key(n): c for n, c in enumerate([*CAPTIONS[:4], "Another caption", CAPTIONS[5]])
    }


def test_vectors_of_another_length_start_the_index_anew(tmp_path):
    fill(tmp_path / "lance", write_archive(tmp_path / "a"), IndexOptions())

    longer = write_archive(tmp_path / "b", dimensions=8)

    assert fill(tmp_path / "lance", longer, IndexOptions()).written == 3
    assert len(rows(tmp_path / "lance")) == len(CAPTIONS)


@pytest.mark.parametrize("kind", VectorIndex)
def test_every_kind_of_vector_index_can_be_made(tmp_path, kind):
    options = IndexOptions(exact_below=1, vector_index=kind)

    fill(tmp_path / "lance", write_archive(tmp_path), options)

    assert {"vector", "caption", "primary_labels", "license_group"} <= indexed(tmp_path / "lance")


def test_facets_count_every_pair_under_each_of_its_values(tmp_path):
    fill(tmp_path / "lance", write_archive(tmp_path), IndexOptions())

    counted = count_facets(facet_rows(tmp_path / "lance")).to_pylist()

    found = {(row["column"], row["value"]): row["images"] for row in counted}
    assert found["license_group", "noncommercial"] == 5
    assert found["primary_labels", "Clinical Imaging"] == 3
    assert (found["split", "train"], found["split", ""]) == (8, 1)


def kill_at(root: Path, log: Path, moment: str) -> str:
    """Fill in a process that is killed before what it should hang at; gives what it noted."""
    process = subprocess.Popen([sys.executable, str(FILL), str(root), str(log), moment])
    deadline = time.monotonic() + SECONDS
    while (not log.exists() or "hang" not in log.read_text()) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return log.read_text()


def test_killed_fill_goes_on_with_what_is_missing_and_repeats_nothing(tmp_path):
    """Killed where the second batch's rows are written and nothing says so yet."""
    write_archive(tmp_path)
    log = tmp_path / "log"
    before = kill_at(tmp_path, log, "mark 4")

    subprocess.run([sys.executable, str(FILL), str(tmp_path), str(log), "never"], check=True, timeout=SECONDS)

    again = [line for line in log.read_text()[len(before) :].splitlines() if line.startswith("rows")]
    assert again == ["rows 0001", "rows 0002"]
    assert rows(tmp_path / "lance") == {key(n): caption for n, caption in enumerate(CAPTIONS)}


def test_fill_killed_between_its_indexes_makes_the_rest_and_leaves_no_rubbish(tmp_path):
    tables = write_archive(tmp_path)
    kill_at(tmp_path, tmp_path / "log", "index 3")
    lance = tmp_path / "lance" / f"{SAMPLES}.lance"
    assert len(indexed(tmp_path / "lance")) == 2
    # What a kill in the middle of an index leaves: LanceDB writes it where no version names it
    leftovers = [lance / "_indices" / "1650aee1-e9f6-42d4-bea6-fa16efeb4b2a" / ".tmpF1sU2R", lance / "data" / "x.lance"]
    leftovers.append(lance / "data" / ".tmp5iArjH")
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")

    assert fill(tmp_path / "lance", tables, IndexOptions()).written == 0

    fill(tmp_path / "whole", tables, IndexOptions())
    assert indexed(tmp_path / "lance") == indexed(tmp_path / "whole")
    assert not [path for path in leftovers if path.exists()]


def indexed(place: Path) -> set[str]:
    return {name for index in connect(place).open_table(SAMPLES).list_indices() for name in index.columns}
