from types import SimpleNamespace

import huggingface_hub
import pytest

from biomedica_kedro.shards.hub import HubOptions, publish_folders
from biomedica_kedro.shards.stream import stream

from .conftest import Corpus, figures


class Hub:
    """Stands for the network: keeps what would be uploaded."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def create_repo(self, repository, **options):
        Hub.created = (self.endpoint, repository, options)

    def upload_folder(self, *, folder_path, **options):
        Hub.files = sorted(str(path.relative_to(folder_path)) for path in folder_path.rglob("*") if path.is_file())
        Hub.keys = {sample.key for sample in stream(folder_path)}
        return SimpleNamespace(oid="abc")


def push(f, options):
    folders = {"shards": f["dataset_shards"], "metadata": f["dataset_metadata"], "articles": f["article_texts"]}
    return publish_folders(folders, "# Card", {"name": "x"}, options)


def test_published_folder_streams_by_itself_and_leaves_empty_tables_out(serialize, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    f = serialize(Corpus(figures(range(6))), tmp_path)
    options = HubOptions(repository="someone/pairs", endpoint="http://127.0.0.1:9")
    assert push(f, options) == {"repository": "someone/pairs", "commit": "abc", "url": None}
    assert Hub.created == (
        "http://127.0.0.1:9",
        "someone/pairs",
        {"repo_type": "dataset", "private": True, "exist_ok": True},
    )
    assert {"README.md", "croissant.json"} < set(Hub.files)
    assert {name.split("/")[0] for name in Hub.files if "/" in name} == {"shards", "metadata"}
    assert Hub.keys == {figure.key for figure in figures(range(6))}


def test_without_a_repository_no_client_is_made(serialize, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    f = serialize(Corpus(figures(range(2))), tmp_path)
    assert push(f, HubOptions()) == {"repository": None, "commit": None, "url": None}


def test_published_url_streams_by_itself_and_only_changed_files_are_copied_again(serialize, tmp_path, monkeypatch):
    url = f"memory://{tmp_path.name}/published"
    f = serialize(Corpus(figures(range(6))), tmp_path)
    assert push(f, HubOptions(url=url))["files"] > 3
    assert {sample.key for sample in stream(url)} == {figure.key for figure in figures(range(6))}
    copied = []
    monkeypatch.setattr("biomedica_kedro.shards.targets.atomic_target", lambda path: copied.append(path))
    push(f, HubOptions(url=url))
    assert copied == []


@pytest.fixture
def s3(monkeypatch):
    """An empty bucket of an S3 server on this machine."""
    pytest.importorskip("s3fs", reason="the extra s3 brings s3fs")
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    yield "s3://bucket"
    server.stop()


def test_published_bucket_streams_by_itself_chosen_by_a_condition(serialize, tmp_path, s3):
    f = serialize(Corpus(figures(range(6))), tmp_path)
    push(f, HubOptions(url=f"{s3}/published"))
    found = stream(f"{s3}/published", where="license_group = 'commercial'", seed=1)
    assert {sample.key for sample in found} == {x.key for x in figures(range(6)) if x.license_group == "commercial"}
