"""Shards kept on disk: read from afar once, never more of them than allowed."""

import threading

import pytest

from biomedica_kedro.shards.disk_cache import DiskCache
from biomedica_kedro.shards.sources import Source, StreamOptions
from biomedica_kedro.shards.stream import stream

from .fault_server import Fault, serve
from .test_members import members_of, pack


@pytest.fixture
def folder(tmp_path):
    for n in range(3):
        pack(tmp_path / f"x{n}.tar", [member for k in range(4) for member in members_of(4 * n + k)])
    return tmp_path


def numbers(url, **options):
    samples = stream(Source(url=url + "/x{0..2}.tar"), options=StreamOptions(lanes=3, window=2, **options), seed=1)
    return [sample.record["n"] for sample in samples]


def test_second_epoch_is_read_from_the_disk_and_is_the_same(folder, tmp_path):
    plain = numbers(f"file://{folder}")
    with serve(folder, [Fault.SHORT, Fault.BUSY]) as server:
        first = numbers(server.url, cache=str(tmp_path / "kept"))
        asked = len(server.asked)
        second = numbers(server.url, cache=str(tmp_path / "kept"))
    assert first == second == plain
    assert len(server.asked) == asked
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_least_recently_used_is_given_up(tmp_path):
    kept = DiskCache(str(tmp_path), max_bytes=250)
    fetched = []

    def read(url):
        with kept.open(url, lambda file: fetched.append(url) or file.write(bytes(100))) as file:
            assert file.read() == bytes(100)

    for url in ["a", "b", "a", "c", "a", "b"]:
        read(url)
    assert fetched == ["a", "b", "c", "b"]
    assert len(list(tmp_path.iterdir())) == 2


def test_fetch_that_fails_leaves_nothing(tmp_path):
    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        DiskCache(str(tmp_path), 1000).open("a", fail)
    assert list(tmp_path.iterdir()) == []


def test_readers_at_the_same_time_fetch_once(tmp_path):
    fetched = []

    def read():
        with DiskCache(str(tmp_path), 1000).open("a", lambda file: fetched.append(1) or file.write(b"x")) as file:
            file.read()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [1]
