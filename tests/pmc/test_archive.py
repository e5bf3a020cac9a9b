"""Members of an archive are read as they were written, by several threads at a time."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveReader, ArchiveWriter
from biomedica_kedro.records import DataError
from biomedica_kedro.stages import BatchFolder


@pytest.fixture
def contents() -> dict[str, bytes]:
    draw = random.Random(0)
    return {f"f{n}.jpg": draw.randbytes(draw.randint(0, 20_000)) for n in range(60)}


@pytest.fixture
def archive(contents, tmp_path) -> BatchFolder:
    folder = BatchFolder(tmp_path / "article_archive")
    place = folder.beside("0000", ARCHIVE)
    place.parent.mkdir(parents=True)
    with ArchiveWriter(place) as writer:
        for name, content in contents.items():
            writer.add("PMC1.1", name, content, kind="media")
    folder.write_table("0000", writer.index())
    return folder


def test_threads_that_share_a_reader_read_what_was_written(archive, contents):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ArchiveReader(archive, "0000") as reader, ThreadPoolExecutor(8) as pool:
            names = list(contents) * 20
            read = list(pool.map(lambda name: reader.read("PMC1.1", name), names))
    finally:
        sys.setswitchinterval(interval)
    assert read == [contents[name] for name in names]


def test_member_that_is_not_there_is_a_data_error(archive):
    with ArchiveReader(archive, "0000") as reader, pytest.raises(DataError, match="missing_file"):
        reader.read("PMC1.1", "other.jpg")
