"""Patterns of shards, and the places they lie in."""

import pytest

from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.shards.places import Access, list_shards
from biomedica_kedro.shards.reader import Reading, read_entries
from biomedica_kedro.shards.samples import Sample

from .fault_server import Fault, serve
from .test_members import members_of, pack, wanted

QUICK = RetryPolicy(tries=4, first_pause=0.01, longest_pause=0.02, timeout=2)


@pytest.fixture
def folder(tmp_path):
    for n in range(3):
        pack(tmp_path / f"x-{n:06d}.tar", members_of(n))
    (tmp_path / "other.parquet").write_bytes(b"")
    return tmp_path


def test_braces_globs_folders_and_lists_name_the_same_shards(folder):
    shards = [f"{folder}/x-{n:06d}.tar" for n in range(3)]
    braces = f"{folder}/x-{{000000..000002}}.tar"
    given = [folder, str(folder), f"{folder}/x-*.tar", braces, "::".join(shards), shards, [shards[0], braces]]
    assert [list_shards(urls) for urls in given] == [shards] * len(given)


def test_names_are_not_asked_for(tmp_path):
    assert list_shards("https://nowhere.invalid/{0..2}.tar") == [f"https://nowhere.invalid/{n}.tar" for n in range(3)]
    assert list_shards("https://nowhere.invalid/a.tar?key=1") == ["https://nowhere.invalid/a.tar?key=1"]


@pytest.mark.parametrize("url", ["pipe:cat x.tar", "x.tar::pipe:curl http://x/y.tar"])
def test_commands_are_refused(url):
    with pytest.raises(ValueError, match="would run a command"):
        list_shards(url)


def test_braces_that_do_not_close_are_told(tmp_path):
    with pytest.raises(ValueError, match="write ranges as"):
        list_shards("x-{000..003.tar")


def test_folder_without_shards_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.tar"):
        list_shards(tmp_path)


def read_all(urls, access):
    entries = (entry for url in list_shards(urls, access) for entry in read_entries(url, Reading(), access))
    return [entry.value for entry in entries if isinstance(entry.value, Sample)]


def test_http_folder_is_listed_and_read(folder):
    with serve(folder) as server:
        assert read_all(server.url + "/", Access(retry=QUICK)) == [wanted(n) for n in range(3)]


def test_data_set_on_the_hub_is_read_with_its_token_through_faults(folder):
    hub = folder / "datasets" / "them" / "pictures" / "resolve" / "v1" / "train"
    hub.mkdir(parents=True)
    pack(hub / "a b.tar", members_of(1) + members_of(2))
    with serve(folder, [Fault.BUSY, Fault.SHORT]) as server:
        access = Access({"endpoint": server.url, "token": "secret"}, QUICK)
        assert read_all("hf://datasets/them/pictures@v1/train/a b.tar", access) == [wanted(1), wanted(2)]


@pytest.fixture
def bucket(folder, monkeypatch):
    """The folder's shards in a bucket of moto's S3."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="shards")
    for path in folder.glob("*.tar"):
        client.put_object(Bucket="shards", Key=f"deep/{path.name}", Body=path.read_bytes())
    config = {"aws_endpoint": endpoint, "aws_region": "us-east-1", "aws_virtual_hosted_style_request": "false", **keys}
    yield Access({"config": config, "client_options": {"allow_http": True}}, QUICK)
    server.stop()


def test_bucket_is_listed_and_read_from_any_byte(bucket):
    assert read_all("s3://shards/deep", bucket) == [wanted(n) for n in range(3)]
    (entry,) = read_entries("s3://shards/deep/x-000001.tar", Reading(), bucket)
    assert [e.value for e in read_entries("s3://shards/deep/x-000001.tar", Reading(), bucket, start=0)] == [entry.value]
    assert list(read_entries("s3://shards/deep/x-000001.tar", Reading(), bucket, start=entry.place.n_bytes)) == []
    with pytest.raises(FileNotFoundError, match=r"s3://shards/deep/no\.tar"):
        list(read_entries("s3://shards/deep/no.tar", Reading(), bucket))
