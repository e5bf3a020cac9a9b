"""Ingestion against a server that misbehaves, and a process that is killed."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cloud_layout import article_xml, jpeg, write_article, write_inventory
from cloud_server import Fault, serve
from fetch_all import HASTE, fetch
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.pmc.archive import ARCHIVE
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.mirror import MirrorSource

N_ARTICLES = 6
SCRIPT = str(Path(__file__).with_name("fetch_all.py"))


def archive_bytes(folders):
    return folders["article_archive"].beside("0000", ARCHIVE).read_bytes()


def whole_files(part):
    """Keys of the files that lie whole in a part."""
    keys = set()
    while part:
        line, _, part = part.partition(b"\n")
        key, n_bytes, _ = json.loads(line)
        keys |= {key} if len(part) >= n_bytes else set()
        part = part[n_bytes:]
    return keys


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    root = tmp_path_factory.mktemp("bucket")
    for n in range(1, N_ARTICLES + 1):
        write_article(root, f"PMC{n}.1", media={"f1.jpg": jpeg(n, size=64), "f2.jpg": jpeg(n + 100)},
                      xml=article_xml("f1", "f2"))  # fmt: skip
    write_inventory(root)
    return root


FILES = st.builds(
    "PMC{0}.1/{1}".format,
    st.integers(1, N_ARTICLES),
    st.sampled_from(["PMC{0}.1.json", "PMC{0}.1.xml", "f1.jpg", "f2.jpg"]),
).map(lambda key: key.format(key[3]))
PASSING = [fault for fault in Fault if fault not in (Fault.STALL, Fault.SLOW_DOWN, Fault.TOO_MANY, Fault.REDIRECT)]
FAULTS = st.dictionaries(FILES, st.lists(st.sampled_from(PASSING), min_size=1, max_size=9), max_size=6)


@settings(max_examples=25, deadline=None)
@given(faults=FAULTS)
def test_every_article_and_image_is_archived_or_failed_once_whatever_the_server_does(faults, bucket, tmp_path_factory):
    root = tmp_path_factory.mktemp("out")
    with serve(bucket, faults={key: list(some) for key, some in faults.items()}) as server:
        folders = fetch(CloudSource(server.url, 8, HASTE), root)
    archived = {(row["article_id"], row["member"]) for row in folders["article_archive"].table().to_pylist()}
    failed = folders["article_archive"].rejects()["source"].to_pylist()
    articles = {f"PMC{n}.1" for n in range(1, N_ARTICLES + 1)}
    whole = {article_id for article_id, member in archived if member.endswith(".xml")}
    assert whole | (set(failed) & articles) == articles
    assert not whole & set(failed)
    assert len(failed) == len(set(failed))
    for article_id in whole:
        images = {name for owner, name in archived if owner == article_id and name.endswith(".jpg")}
        lost = {name.partition("/")[2] for name in failed if name.startswith(f"{article_id}/")}
        assert images | lost == {"f1.jpg", "f2.jpg"}
        assert not images & lost


@pytest.mark.parametrize(
    "fault", [Fault.BUSY, Fault.SLOW_DOWN, Fault.RESET, Fault.TRUNCATED, Fault.CORRUPT, Fault.STALL]
)
def test_one_fault_on_every_kind_of_file_leaves_no_trace_in_the_archive(fault, bucket, tmp_path):
    keys = ["PMC1.1/PMC1.1.json", "PMC2.1/PMC2.1.xml", "PMC3.1/f1.jpg"]
    if fault is Fault.CORRUPT:
        keys = keys[1:]  # the metadata say no md5 of themselves
    with serve(bucket, faults={key: [fault] for key in keys}, retry_after="0") as server:
        folders = fetch(CloudSource(server.url, 8, HASTE), tmp_path / "cloud")
        assert len(server.requests) > 4 * N_ARTICLES + len(keys)
    assert folders["article_archive"].rejects().num_rows == 0
    assert archive_bytes(folders) == archive_bytes(fetch(MirrorSource(str(bucket)), tmp_path / "mirror"))


def test_wrong_md5_in_the_metadata_is_a_failure_with_its_reason(bucket, tmp_path):
    lasting = [Fault.CORRUPT] * 9
    with serve(bucket, faults={"PMC1.1/PMC1.1.xml": lasting, "PMC2.1/f1.jpg": list(lasting)}) as server:
        failures = fetch(CloudSource(server.url, 8, HASTE), tmp_path)["article_archive"].rejects().to_pylist()
    assert {row["source"]: row["reason"] for row in failures} == {
        "PMC1.1": "checksum_mismatch",
        "PMC2.1/f1.jpg": "checksum_mismatch",
    }


def test_killed_run_fetches_nothing_whole_again_and_gives_the_same_bytes(bucket, tmp_path):
    with serve(bucket, latency=0.02) as server:
        command = [sys.executable, SCRIPT, server.url, str(tmp_path / "killed")]
        process = subprocess.Popen(command)
        while len(server.requests) < 12 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        (part,) = (tmp_path / "killed").rglob("*.part")
        whole = whole_files(part.read_bytes())
        assert whole, "the kill came before anything was whole"
        with part.open("ab") as file:
            file.write(b'["PMC6.1/f1.jpg",999,1]\nwhat a kill in the middle of writing leaves')
        server.requests.clear()
        folders = fetch(CloudSource(server.url, 2, HASTE), tmp_path / "killed")
        assert not whole & set(server.asked())
    assert archive_bytes(folders) == archive_bytes(fetch(MirrorSource(str(bucket)), tmp_path / "clean"))
    assert not list((tmp_path / "killed").rglob("*.scratch"))


def test_full_disk_stops_the_run_and_leaves_nothing_that_looks_finished(bucket, tmp_path):
    with serve(bucket) as server:
        command = [sys.executable, SCRIPT, server.url, str(tmp_path / "full")]
        done = subprocess.run(
            command,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert "File too large" in done.stderr
        assert not list((tmp_path / "full").rglob("_commits/*.json"))
        folders = fetch(CloudSource(server.url, 2, HASTE), tmp_path / "full")
    assert archive_bytes(folders) == archive_bytes(fetch(MirrorSource(str(bucket)), tmp_path / "clean"))


def test_moto_serves_what_we_ask_of_s3(bucket, tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="pmc-oa-opendata")
        for path in sorted(path for path in bucket.rglob("*") if path.is_file()):
            key = str(path.relative_to(bucket))
            client.put_object(Bucket="pmc-oa-opendata", Key=key, Body=path.read_bytes(), ACL="public-read")
        client.put_bucket_acl(Bucket="pmc-oa-opendata", ACL="public-read")
        source = CloudSource(f"http://{host}:{port}/pmc-oa-opendata", 8, HASTE)
        assert source.list_articles({"PMC1"})["article_id"].to_pylist() == ["PMC1.1"]
        folders = fetch(source, tmp_path / "cloud")
    finally:
        server.stop()
    assert archive_bytes(folders) == archive_bytes(fetch(MirrorSource(str(bucket)), tmp_path / "mirror"))
