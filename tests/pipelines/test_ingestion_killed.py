"""The whole of ingestion, killed in each stage that asks the network, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from biomedica_kedro.pipelines.ingestion.stages import list_articles
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.inventory import ListOptions
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import BatchOptions

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the process that is killed
from engine import run_node

N_ARTICLES, AT_ONCE = 16, 2
BATCHES = BatchOptions(count=1)
TESTS = Path(__file__).parents[1]


def ingest(source, root):
    """Every stage, each output in its folder below `root`."""
    inventory = list_articles(source, EntrezClient(), ListOptions())
    found = run_node("read_metadata", root, article_source=source, article_inventory=inventory, batches=BATCHES)
    found |= run_node("select_articles", root, batches=BATCHES, **found)
    return found | run_node("fetch_articles", root, article_source=source, batches=BATCHES, **found)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS / "pmc"))
    from cloud_layout import article_xml, jpeg, write_article, write_inventory

    for n in range(1, N_ARTICLES + 1):
        write_article(tmp_path / "bucket", f"PMC{n}.1", media={"f1.jpg": jpeg(n)}, xml=article_xml("f1"))
    write_inventory(tmp_path / "bucket")
    return tmp_path / "bucket"


def run_and_kill(server, root, *, after):
    """Start ingestion in a process of its own and kill it when so many files of articles have been asked for."""
    process = subprocess.Popen([sys.executable, __file__, server.url, str(root)], env=dict(os.environ))
    while len(server.asked("PMC")) < after and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_ingestion_killed_in_each_stage_asks_for_nothing_whole_twice_and_gives_the_same_data(bucket, tmp_path):
    from cloud_server import serve

    with serve(bucket, latency=0.03) as server:
        run_and_kill(server, tmp_path / "out", after=N_ARTICLES - 3)
        assert not (tmp_path / "out/article_archive").exists()
        assert not BatchFolder(tmp_path / "out/article_metadata").is_complete()
        run_and_kill(server, tmp_path / "out", after=3 * N_ARTICLES)
        assert BatchFolder(tmp_path / "out/article_metadata").is_complete()
        assert not BatchFolder(tmp_path / "out/article_archive").is_complete()
        folders = ingest(CloudSource(server.url, AT_ONCE), tmp_path / "out")
        uninterrupted = 4 * N_ARTICLES
        assert len(server.asked("PMC")) <= uninterrupted + 2 * 2 * AT_ONCE
    clean = ingest(MirrorSource(str(bucket)), tmp_path / "clean")
    assert {name: folder.digest() for name, folder in folders.items()} == {
        name: folder.digest() for name, folder in clean.items()
    }
    assert folders["article_archive"].table().num_rows == 3 * N_ARTICLES
    assert not list((tmp_path / "out").rglob("*.scratch"))


if __name__ == "__main__":
    ingest(CloudSource(sys.argv[1], AT_ONCE), Path(sys.argv[2]))
