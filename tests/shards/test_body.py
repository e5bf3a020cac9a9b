"""One sequential read survives what passes and names what does not."""

import gzip
import time

import pytest

from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.shards.body import open_shard
from biomedica_kedro.shards.members import ShardError
from biomedica_kedro.shards.places import Access

from .fault_server import Fault, serve

CONTENT = bytes(range(256)) * 3000
QUICK = Access(retry=RetryPolicy(tries=4, first_pause=0.01, longest_pause=0.02, timeout=0.4))
PASSING = [Fault.BUSY, Fault.TOO_MANY, Fault.RESET, Fault.SHORT, Fault.STALL]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "x y.tar").write_bytes(CONTENT)
    return tmp_path


def read(url, start=0, access=QUICK):
    with open_shard(url, access, start=start) as (file, _):
        return file.read()


@pytest.mark.parametrize("start", [0, 1, 70_001, len(CONTENT)])
@pytest.mark.parametrize("fault", [None, *PASSING, Fault.NO_LENGTH, Fault.NO_RANGE, Fault.WRONG_RANGE])
def test_body_is_whole_whatever_passes_once(root, fault, start):
    with serve(root, [fault]) as server:
        assert read(f"{server.url}/x%20y.tar", start) == CONTENT[start:]


def test_body_goes_on_where_it_stopped_even_without_ranges(root):
    faults = [Fault.SHORT, Fault.BUSY, Fault.RESET, Fault.TOO_MANY, Fault.NO_RANGE]
    with serve(root, faults) as server:
        assert read(f"{server.url}/x%20y.tar") == CONTENT
    starts = [int(wanted[6:-1]) for _, wanted in server.asked if wanted]
    assert starts == sorted(starts)
    assert starts[0] == len(CONTENT) * 2 // 3


def test_whole_body_is_one_request(root):
    with serve(root) as server:
        read(f"{server.url}/x%20y.tar")
    assert len(server.asked) == 1


def test_retry_after_is_waited_for(root):
    with serve(root, [Fault.TOO_MANY], retry_after="1") as server:
        started = time.monotonic()
        assert read(f"{server.url}/x%20y.tar") == CONTENT
    assert time.monotonic() - started >= 1


def test_server_that_stays_silent_is_given_up_in_time_and_named(root):
    with serve(root, [Fault.BUSY] * 4) as server:
        started = time.monotonic()
        with pytest.raises(ShardError, match=r"x%20y\.tar cannot be read on from byte 0: HTTP 503, after 4 attempts"):
            read(f"{server.url}/x%20y.tar")
    assert time.monotonic() - started < 30


def test_shard_that_changes_under_way_is_an_error(root):
    with serve(root, [Fault.SHORT, Fault.CHANGED]) as server, pytest.raises(ShardError, match="changed while"):
        read(f"{server.url}/x%20y.tar")


@pytest.mark.parametrize("place", ["http", "memory", "folder"])
def test_missing_shard_is_named_at_once(root, place):
    with serve(root) as server:
        url = {"http": f"{server.url}/no.tar", "memory": "memory://no.tar", "folder": root / "no.tar"}[place]
        with pytest.raises(FileNotFoundError, match=r"no\.tar"):
            read(url)
    assert len(server.asked) <= 1


def test_packed_shard_is_unpacked_through_faults(root):
    (root / "x.tar.gz").write_bytes(gzip.compress(CONTENT, 0))
    with serve(root, [Fault.SHORT, Fault.BUSY]) as server:
        assert read(f"{server.url}/x.tar.gz") == CONTENT


def test_any_file_system_of_fsspec_is_read():
    import fsspec

    fsspec.filesystem("memory").pipe_file("/deep/x.tar", CONTENT)
    assert read("memory://deep/x.tar", 70_001) == CONTENT[70_001:]
