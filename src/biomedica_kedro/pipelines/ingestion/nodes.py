"""Nodes of the ingestion pipeline: adaptors between the catalog and `pmc`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pandas as pd  # not deferred: Kedro reads the options' models from hints it can resolve at run time
import pyarrow as pa

from biomedica_kedro.batches import BatchFolder, BatchOptions, PlannedOutput, plan_batches
from biomedica_kedro.pmc import estimate, fetch, pubmed, read, selection
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.estimate import EstimateOptions
from biomedica_kedro.pmc.fetch import FetchOptions
from biomedica_kedro.pmc.identifiers import batch_names, batch_of
from biomedica_kedro.pmc.inventory import ListOptions, list_some
from biomedica_kedro.pmc.pubmed import PubmedOptions
from biomedica_kedro.pmc.read import MetadataOptions
from biomedica_kedro.pmc.selection import SELECTED_ARTICLES, SelectOptions
from biomedica_kedro.pmc.source import Source

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def list_articles(article_source: Source, entrez: EntrezClient, options: ListOptions) -> pa.Table:
    """List every article version the source offers, or those asked for."""
    return list_some(article_source, options, entrez.find_articles)


def read_metadata(
    article_source: Source, article_inventory: pa.Table, options: MetadataOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Read licence, flags and file names of every listed article."""
    return plan_batches(
        read.read_metadata,
        stage="read_metadata",
        outputs=["article_metadata"],
        parameters=options,
        whole={"article_source": article_source},
        slices={"article_inventory": _by_batch(article_inventory, batches.count)},
        options=batches,
    )


def select_articles(
    article_metadata: BatchFolder, options: SelectOptions
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Choose the articles of this run; count the others by licence and reason."""
    chosen = selection.select_articles(article_metadata.table(), options)
    return chosen.selected.to_pandas(), chosen.licence_summary.to_pandas(), chosen.tombstones.to_pandas()


def plot_licences(licence_summary: pd.DataFrame) -> Figure:
    """Bars of articles per licence: selected, and excluded by reason."""
    from plotly import graph_objects  # plotly.express takes three times as long to import

    bars = [
        graph_objects.Bar(name=status, x=[rows["license_group"], rows["license_code"]], y=rows["articles"])
        for status, rows in licence_summary.groupby("status")
    ]
    layout = {"barmode": "stack", "title": "Articles by licence: selected, or why not", "yaxis_title": "articles"}
    return graph_objects.Figure(bars, layout)


def estimate_download(
    article_source: Source, selected_articles: pd.DataFrame, options: EstimateOptions
) -> dict[str, float]:
    """Estimate the bytes of the download; `--to-nodes=ingestion.estimate_download` stops before it."""
    articles = list(zip(selected_articles["article_id"], selected_articles["location"], strict=True))
    return estimate.estimate_download(article_source, articles, options).as_dict()


def fetch_articles(
    article_source: Source, selected_articles: pd.DataFrame, options: FetchOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Fetch the selected articles into the archive; an update fetches only what changed."""
    return plan_batches(
        fetch.fetch_articles,
        stage="fetch_articles",
        outputs=["article_archive", "failed_downloads"],
        parameters=options,
        whole={"article_source": article_source},
        slices={"selected_articles": _columns_by_batch(selected_articles, ["article_id", "etag", "location"], batches)},
        options=batches,
    )


def fetch_pubmed_records(
    entrez: EntrezClient, selected_articles: pd.DataFrame, options: PubmedOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Ask PubMed for the indexing of the selected articles; in this process, which keeps to NCBI's rate."""
    return plan_batches(
        pubmed.fetch_pubmed_records,
        stage="fetch_pubmed_records",
        outputs=["pubmed_records"],
        parameters=options,
        whole={"entrez": entrez},
        slices={"selected_articles": _columns_by_batch(selected_articles, ["article_id", "pmid"], batches)},
        options=batches.model_copy(update={"workers": 0, "address": None}),
    )


def _columns_by_batch(articles: pd.DataFrame, names: list[str], batches: BatchOptions) -> dict[str, pa.Table]:
    schema = pa.schema([SELECTED_ARTICLES.field(name) for name in names])
    return _by_batch(pa.Table.from_pandas(articles[names], schema=schema, preserve_index=False), batches.count)


def _by_batch(table: pa.Table, count: int) -> dict[str, pa.Table]:
    """The rows of each batch, every batch named; schema metadata dropped so that equal rows have equal digests."""
    positions: dict[str, list[int]] = defaultdict(list)
    for position, article_id in enumerate(table["article_id"].to_pylist()):
        positions[batch_of(article_id, count)].append(position)
    table = table.replace_schema_metadata(None).combine_chunks()
    return {name: table.take(pa.array(positions[name], pa.int64())) for name in batch_names(count)}
