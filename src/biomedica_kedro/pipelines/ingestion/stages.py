"""The ingestion's stages: from the listing of PubMed Central's open articles to an archive of the selected ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.fetch import Fetcher, FetchOptions
from biomedica_kedro.pmc.fetched_files import FetchedFiles, PreviousArchive
from biomedica_kedro.pmc.identifiers import batch_names, batch_of
from biomedica_kedro.pmc.inventory import ListOptions, list_some
from biomedica_kedro.pmc.pubmed import PUBMED_RECORDS, PubmedOptions, complete_records
from biomedica_kedro.pmc.read import MetadataOptions, read_articles
from biomedica_kedro.pmc.selection import SelectOptions, choose_articles
from biomedica_kedro.pmc.source import Source
from biomedica_kedro.records import Reject
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.previous_batch import PreviousBatch
from biomedica_kedro.stages.run import BatchOptions
from biomedica_kedro.stages.stage import Batch, Tables, stage

Cuts = Mapping[str, Mapping[str, pa.Table]]


def list_articles(article_source: Source, entrez: EntrezClient, options: ListOptions) -> pa.Table:
    """List every article version the source offers, or those asked for."""
    return list_some(article_source, options, entrez.find_articles)


def inventory_by_batch(article_inventory: pa.Table, batches: BatchOptions) -> Cuts:
    """The listed articles, cut into hash buckets."""
    return {name: {"article_inventory": rows} for name, rows in _by_batch(article_inventory, batches.count).items()}


@stage(version=2)
def read_metadata(batch: Batch, options: MetadataOptions) -> Tables:
    """Read license, flags and file names of every listed article; as many rows as the inventory has."""
    kept = PreviousBatch(batch.outputs["article_metadata"], batch.name)
    rows = batch.inputs["article_inventory"].to_pylist()
    with FetchedFiles(batch.scratch("article_metadata")) as fetched:
        table = read_articles(rows, batch.inputs["article_source"], fetched, kept.rows(), options)
    kept.replace(table)
    return {"article_metadata": table}


@stage(version=3)
def select_articles(batch: Batch, options: SelectOptions) -> Tables:
    """Choose the articles of this run; count the others by license and reason."""
    metadata = batch.inputs["article_metadata"].dataset()
    chosen = choose_articles(metadata, options)
    batch.expect(metadata.count_rows())
    batch.reject(Reject(article_id, batch.stage, reason) for article_id, reason in chosen.excluded)
    return {
        "selected_articles": chosen.selected,
        "license_summary": chosen.license_summary,
        "article_tombstones": chosen.tombstones,
    }


def downloads_by_batch(selected_articles: BatchFolder, batches: BatchOptions) -> Cuts:
    """What decides which articles are fetched, cut into hash buckets."""
    return _selected_by_batch(selected_articles, ["article_id", "etag", "location"], batches)


@stage(version=1)
def fetch_articles(batch: Batch, options: FetchOptions) -> Tables:
    """Fetch the selected articles into the archive; an update fetches only what changed."""
    articles = batch.inputs["selected_articles"].to_pylist()
    with (
        PreviousArchive(batch.outputs["article_archive"], batch.name, options.recipe()) as kept,
        FetchedFiles(batch.scratch("article_archive")) as fetched,
    ):
        downloads = Fetcher(batch.inputs["article_source"], fetched, kept, options).fetch(articles, batch.name)
        with batch.create_beside("article_archive", ARCHIVE) as path, ArchiveWriter(path) as archive:
            for download in downloads:
                for name, kind in download.files:
                    archive.add(download.article_id, name, download.store.read(download.article_id, name), kind=kind)
            index = archive.index()
    etags = {row["article_id"]: row["etag"] for row in articles}
    kept.replace(index, {one.article_id: etags[one.article_id] for one in downloads if not one.failures})
    batch.reject(failure for download in downloads for failure in download.failures)
    return {"article_archive": index}


def pmids_by_batch(selected_articles: BatchFolder, batches: BatchOptions) -> Cuts:
    """The PMIDs of the selected articles, cut into hash buckets."""
    return _selected_by_batch(selected_articles, ["article_id", "pmid"], batches)


@stage(version=1, in_process=True)
def fetch_pubmed_records(batch: Batch, options: PubmedOptions) -> Tables:
    """Ask PubMed for the indexing of the selected articles; none unless that is enabled."""
    if not options.enabled:
        return {"pubmed_records": PUBMED_RECORDS.empty_table()}
    kept = PreviousBatch(batch.outputs["pubmed_records"], batch.name)
    is_fresh = kept.notes().get("refresh") == options.refresh
    known = {row["pmid"]: row for row in kept.rows()} if is_fresh else {}
    pmids = {row["article_id"]: row["pmid"] for row in batch.inputs["selected_articles"].to_pylist() if row["pmid"]}
    table = complete_records(batch.inputs["entrez"], pmids, known)
    kept.replace(table, notes={"refresh": options.refresh})
    return {"pubmed_records": table}


def _selected_by_batch(selected: BatchFolder, columns: Sequence[str], batches: BatchOptions) -> Cuts:
    parts = _by_batch(selected.table(columns=columns), batches.count)
    return {name: {"selected_articles": rows} for name, rows in parts.items()}


def _by_batch(table: pa.Table, count: int) -> dict[str, pa.Table]:
    """The rows of each batch, every batch named; schema metadata dropped so that equal rows have equal digests."""
    positions: dict[str, list[int]] = defaultdict(list)
    for position, article_id in enumerate(table["article_id"].to_pylist()):
        positions[batch_of(article_id, count)].append(position)
    table = table.replace_schema_metadata(None).combine_chunks()
    return {name: table.take(pa.array(positions[name], pa.int64())) for name in batch_names(count)}
