import fsspec
import pytest

from biomedica_kedro.shards.reader import read_sample, read_shard
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.targets import publish
from biomedica_kedro.shards.writer import write_shard

SAMPLES = [Sample(f"s{n}", b"x" * 700 * n, "jpg", f"Caption {n}", {"schema_version": 1}) for n in range(3)]


@pytest.fixture(params=["local path", "file url", "object store"])
def folder(request, tmp_path):
    return {
        "local path": str(tmp_path), "file url": f"file://{tmp_path}", "object store": f"memory://{tmp_path.name}",
    }[request.param]  # fmt: skip


def listed(folder):
    system, path = fsspec.core.url_to_fs(folder)
    return sorted(name.rpartition("/")[2] for name in system.find(path))


def test_shard_is_written_to_any_url(folder):
    places = write_shard(f"{folder}/x.tar", SAMPLES)
    assert list(read_shard(f"{folder}/x.tar")) == SAMPLES
    assert [read_sample(f"{folder}/x.tar", offset, n_bytes) for _, offset, n_bytes in places] == SAMPLES
    assert listed(folder) == ["x.tar"]


def test_shard_that_fails_appears_under_no_url(folder):
    with pytest.raises(ValueError, match="in the shard already"):
        write_shard(f"{folder}/x.tar", [SAMPLES[1], SAMPLES[1]])
    assert listed(folder) == []


def test_publishing_again_after_a_kill_copies_what_is_missing(folder, tmp_path):
    root = tmp_path / "files"
    root.mkdir()
    for name in "ab":
        (root / name).write_text(name)
    with pytest.raises(FileNotFoundError):
        publish(root, f"{folder}/out", {"a": "1", "missing": "2"})
    assert publish(root, f"{folder}/out", {"a": "1", "b": "2"}) == 2
    assert publish(root, f"{folder}/out", {"a": "1", "b": "3"}) == 1
    assert listed(f"{folder}/out") == ["a", "b", "checksums.json"]
