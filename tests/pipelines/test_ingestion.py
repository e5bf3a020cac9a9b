from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from biomedica_corpus import CorpusOptions, write_corpus
from biomedica_kedro.datasets.batches import BatchDataset
from biomedica_kedro.datasets.sources import (
    CloudDataset,
    EmbeddedCorpusSource,
    EntrezDataset,
    InventoryDataset,
    MirrorDataset,
    PackagesDataset,
)
from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.pipelines.ingestion.reports import estimate_download
from biomedica_kedro.pipelines.ingestion.stages import list_articles
from biomedica_kedro.pmc.archive import ARCHIVE
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.estimate import EstimateOptions
from biomedica_kedro.pmc.inventory import ListOptions
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.pmc.selection import SelectOptions
from biomedica_kedro.stages.run import BatchOptions

BATCHES = BatchOptions(count=3)
EVERYTHING, ANY = SelectOptions(), ListOptions()
CORPUS = {"articles": 8, "held_out_articles": 0, "image_size": 64, "workers": 1}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "corpus"
    write_corpus(folder, CorpusOptions(**CORPUS))
    return MirrorSource(str(folder))


def ids_of(table):
    return set(table["article_id"].to_pylist())


@pytest.fixture
def ingest(corpus, run_node):
    def run(select=EVERYTHING, only=ANY):
        inventory = list_articles(corpus, EntrezClient(), only)
        found = run_node("read_metadata", article_source=corpus, article_inventory=inventory, batches=BATCHES)
        found |= run_node("select_articles", options={"select_articles": select}, batches=BATCHES, **found)
        return inventory, found | run_node("fetch_articles", article_source=corpus, batches=BATCHES, **found)

    return run


def test_every_listed_article_is_archived_failed_or_excluded(ingest):
    inventory, found = ingest()
    selected = ids_of(found["selected_articles"].table())
    archived = ids_of(found["article_archive"].table())
    failed = set(found["article_archive"].rejects()["source"].to_pylist())
    assert archived | (failed & selected) == selected
    assert not archived & failed
    assert sum(found["license_summary"].table()["articles"].to_pylist()) == inventory.num_rows
    assert ids_of(found["article_tombstones"].table()).isdisjoint(selected)
    excluded = found["selected_articles"].rejects()
    assert len(selected) + excluded.num_rows == inventory.num_rows
    assert selected.isdisjoint(excluded["source"].to_pylist())


def test_two_runs_give_the_same_batches_and_do_nothing_twice(ingest):
    first = ingest()[1]["article_archive"]
    digest, written = first.digest(), first.beside("0001", ARCHIVE).stat().st_mtime_ns
    again = ingest()[1]["article_archive"]
    assert again.digest() == digest
    assert again.beside("0001", ARCHIVE).stat().st_mtime_ns == written


def test_only_the_asked_for_articles_are_listed(ingest, corpus):
    article_id = corpus.list_articles()["article_id"][0].as_py()
    inventory = ingest(only=ListOptions(pmcids=(article_id.partition(".")[0],)))[0]
    assert inventory["article_id"].to_pylist() == [article_id]


def test_estimate_bounds_what_is_fetched_and_shows_every_license_and_status(ingest, corpus):
    _, found = ingest()
    selected, summary = found["selected_articles"], found["license_summary"]
    estimate, figure = estimate_download(corpus, selected, summary, EstimateOptions())
    assert {bar.name for bar in figure.data} == set(summary.table()["status"].to_pylist())
    fetched = sum(found["article_archive"].table()["n_bytes"].to_pylist())
    assert estimate["articles"] == found["selected_articles"].table().num_rows
    assert fetched <= estimate["bytes_total"] < 3 * fetched


def test_pubmed_is_not_asked_unless_told_to(ingest, run_node):
    selected = ingest()[1]["selected_articles"]
    nobody = EntrezClient("http://127.0.0.1:9")
    records = run_node("fetch_pubmed_records", entrez=nobody, selected_articles=selected, batches=BATCHES)[
        "pubmed_records"
    ]
    assert records.table().num_rows == 0
    assert len(records.names()) == BATCHES.count


def test_embedded_corpus_is_written_once_and_cannot_be_saved_to(tmp_path):
    dataset = EmbeddedCorpusSource(path=str(tmp_path / "corpus"), options=CORPUS)
    assert dataset.load().list_articles().num_rows > 0
    written = (tmp_path / "corpus/corpus.json").stat().st_mtime_ns
    dataset.load()
    assert (tmp_path / "corpus/corpus.json").stat().st_mtime_ns == written
    with pytest.raises(DatasetError, match="cannot be saved: it is an input"):
        dataset.save(1)


@pytest.mark.parametrize(
    ("dataset", "source"),
    [
        (MirrorDataset(url="s3://bucket"), MirrorSource("s3://bucket")),
        (PackagesDataset(path="packages"), PackagesSource(Path("packages"))),
        (CloudDataset(retry={"tries": 3}), CloudSource(retry=RetryPolicy(tries=3))),
        (EntrezDataset(credentials={"api_key": "secret"}), EntrezClient(api_key="secret")),
    ],
    ids=["mirror", "packages", "cloud", "entrez"],
)
def test_source_is_what_the_catalog_says_and_is_never_written(dataset, source):
    assert dataset.load() == source
    assert dataset.exists()
    assert "secret" not in str(dataset)
    with pytest.raises(DatasetError, match="cannot be saved: it is an input"):
        dataset.save(1)


def test_inventory_remembers_what_vanished(tmp_path, corpus):
    dataset = InventoryDataset(filepath=str(tmp_path / "inventory.parquet"))
    table = corpus.list_articles()
    assert not dataset.exists()
    dataset.save(table)
    assert dataset.load().equals(table)
    dataset.save(table.slice(1))
    assert dataset.load()["status"].to_pylist().count("removed") == 1
    assert len(dataset.preview(2)["data"]) == 2


def test_archive_is_a_batch_data_set(ingest, tmp_path):
    ingest()
    assert BatchDataset(filepath=str(tmp_path / "article_archive")).exists()
