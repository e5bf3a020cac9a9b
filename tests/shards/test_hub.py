import huggingface_hub
import pyarrow.parquet as pq
import pytest

from biomedica_kedro.shards.hub import HubOptions, publish_folders
from biomedica_kedro.shards.publication import lay_out
from biomedica_kedro.shards.releases import compare
from biomedica_kedro.shards.stream import stream

from .conftest import Corpus, Figure, figures
from .hub_server import Hub, serve


def push(f, options):
    folders = {"shards": f["dataset_shards"], "metadata": f["dataset_metadata"], "articles": f["article_texts"]}
    reasons = {row["source"]: row["reason"] for row in f["dataset_metadata"].rejects().to_pylist()}
    return publish_folders(folders, "# Card", {"name": "x"}, options, reasons)


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine, without repository."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    held = Hub()
    server = serve(held)
    yield held
    server.shutdown()


def to(hub, **options):
    return HubOptions(repository="someone/pairs", endpoint=hub.url, files_per_commit=3, **options)


def actions(receipt):
    return {(row["subset"], row["action"]): row["files"] for row in receipt["changes"]}


def test_dry_run_tells_files_and_bytes_by_license_and_sends_nothing(serialize, tmp_path, hub):
    f = serialize(Corpus(figures(range(6))), tmp_path)
    receipt = push(f, to(hub, dry_run=True))
    # a shard and its table each; card, Croissant and two attribution files
    assert actions(receipt) == {("commercial", "add"): 4, ("noncommercial", "add"): 4, ("all", "add"): 4}
    assert sum(row["bytes"] for row in receipt["changes"]) > 10_000
    assert (hub.files, hub.commits) == (None, [])


def test_push_sends_the_folder_in_parts_the_card_last_and_tags_the_release(serialize, tmp_path, hub):
    f = serialize(Corpus(figures(range(6))), tmp_path)
    push(f, to(hub, release="2026-11-26"))
    assert [len(paths) for paths in hub.commits[:-1]] == [3] * (len(hub.commits) - 1)
    assert {path.split("/")[0] for path in hub.commits[0]} == {"shards"}
    assert "README.md" not in [path for paths in hub.commits[:3] for path in paths]
    assert hub.tags == ["2026-11-26"]
    for path, content in hub.files.items():
        (tmp_path / "got" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "got" / path).write_bytes(content)
    assert {sample.key for sample in stream(tmp_path / "got")} == {figure.key for figure in figures(range(6))}


def test_push_that_was_cut_off_goes_on_and_sends_nothing_twice(serialize, tmp_path, hub):
    f = serialize(Corpus(figures(range(6))), tmp_path)
    hub.fail_after = 2
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError):
        push(f, to(hub))
    assert len(hub.files) == 6
    hub.fail_after = None
    assert actions(push(f, to(hub)))["commercial", "keep"] > 0
    sent = [path for paths in hub.commits for path in paths]
    assert len(sent) == len(set(sent)) == len(hub.files) == 12
    commits = list(hub.commits)
    assert {action for _, action in actions(push(f, to(hub)))} == {"keep"}
    assert hub.commits == commits


def test_update_sends_only_what_changed_and_deletes_only_what_is_ours(serialize, tmp_path, hub):
    push(serialize(Corpus(figures(range(20))), tmp_path), to(hub))
    hub.files |= {"shards/stale.tar": b"old", "notes.md": b"the owner's"}
    before, commits = dict(hub.files), len(hub.commits)
    changed = figures(range(20))
    changed[0] = Figure(0, 0, caption="A better caption.")
    f = serialize(Corpus(changed), tmp_path)
    push(f, to(hub))
    sent = [path for paths in hub.commits[commits:] for path in paths]
    rows = f["dataset_metadata"].table().to_pylist()
    touched = {row["shard"].removesuffix(".tar") for row in rows if row["article_id"] == "PMC0.1"}
    assert {path for path in sent if not path.startswith("metadata/")} == {
        "shards/stale.tar", *(f"shards/{name}.tar" for name in touched)
    }  # fmt: skip
    assert {path[9:-8] for path in sent if path.startswith("metadata/")} <= touched
    assert hub.files["notes.md"] == before["notes.md"]


def test_release_says_what_changed_and_is_never_written_over(serialize, tmp_path):
    first, second = str(tmp_path / "2026-10"), str(tmp_path / "2026-11")
    push(serialize(Corpus(figures(range(20))), tmp_path), HubOptions(url=first, release="2026-10-01"))
    later = figures(range(1, 21))
    later[0] = Figure(1, 0, license_group="noncommercial", caption="A better caption.")
    f = serialize(Corpus(later, retracted={2}), tmp_path)
    push(f, HubOptions(url=second, release="2026-11-01", previous=first))
    changes = compare(first, second).to_pylist()
    assert {(row["key"].split("_")[0], row["change"]) for row in changes} == {
        ("PMC0", "withdrawn"), ("PMC1", "changed"), ("PMC2", "withdrawn"), ("PMC20", "added"),
    }  # fmt: skip
    assert [row["columns"] for row in changes if row["change"] == "changed"] == [["caption"]]
    assert (tmp_path / "2026-11/CHANGELOG.md").read_text() == (
        "## 2026-11-01\n\n3 added, 1 changed, 6 withdrawn\n\n## 2026-10-01\n\nfirst release\n\n"
    )
    tombstones = pq.read_table(tmp_path / "2026-11/tombstones.parquet").to_pylist()
    assert {(row["key"], row["reason"], row["release"]) for row in tombstones} == {
        (f"PMC{n}_1-F{i}-0", reason, "2026-11-01")
        for n, reason in ((0, "not_found"), (2, "retracted"))
        for i in range(3)
    }
    with pytest.raises(ValueError, match="holds the release '2026-10-01', which is never written over"):
        push(f, HubOptions(url=first, release="2026-11-01"))


def test_folder_of_more_files_than_the_hub_allows_is_refused(serialize, tmp_path, monkeypatch):
    monkeypatch.setattr("biomedica_kedro.shards.publication.MAX_FILES", 2)
    f = serialize(Corpus(figures(range(20))), tmp_path)
    with pytest.raises(ValueError, match=r"shards/ would hold \d+ files, the hub allows 2 a folder"):
        lay_out(tmp_path, {"shards": f["dataset_shards"], "metadata": f["dataset_metadata"]}, "", {})


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
    import boto3
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
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="bucket")
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # an earlier server's
    yield "s3://bucket"
    server.stop()


def test_published_bucket_streams_by_itself_chosen_by_a_condition(serialize, tmp_path, s3):
    f = serialize(Corpus(figures(range(6))), tmp_path)
    push(f, HubOptions(url=f"{s3}/published"))
    found = stream(f"{s3}/published", where="license_group = 'commercial'", seed=1)
    assert {sample.key for sample in found} == {x.key for x in figures(range(6)) if x.license_group == "commercial"}
