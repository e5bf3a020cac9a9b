"""Nodes of the ingestion pipeline: adaptors between the catalog and `pmc`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pandas as pd  # not deferred: Kedro reads the options' models from hints it can resolve at run time
import pyarrow as pa

from biomedica_kedro.batches import BatchFolder, BatchOptions, PlannedOutput, plan_batches
from biomedica_kedro.pmc import fetch, read, selection
from biomedica_kedro.pmc.fetch import FetchOptions
from biomedica_kedro.pmc.identifiers import batch_names, batch_of
from biomedica_kedro.pmc.inventory import ListOptions, list_some
from biomedica_kedro.pmc.read import MetadataOptions
from biomedica_kedro.pmc.selection import SELECTED_ARTICLES, SelectOptions
from biomedica_kedro.pmc.source import Source

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def list_articles(article_source: Source, options: ListOptions) -> pa.Table:
    """List every article version the source offers, or those asked for."""
    return list_some(article_source, options.pmcids)


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
    import plotly.express as px

    return px.bar(
        licence_summary.sort_values(["license_group", "license_code", "status"]),
        x="license_code",
        y="articles",
        color="status",
        facet_col="license_group",
        title="Articles by licence: selected, or why not",
    ).update_xaxes(matches=None)


def fetch_articles(
    article_source: Source, selected_articles: pd.DataFrame, options: FetchOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Fetch the selected articles into the archive; an update fetches only what changed."""
    names = ["article_id", "etag", "location"]
    schema = pa.schema([SELECTED_ARTICLES.field(name) for name in names])
    rows = pa.Table.from_pandas(selected_articles[names], schema=schema, preserve_index=False)
    return plan_batches(
        fetch.fetch_articles,
        stage="fetch_articles",
        outputs=["article_archive", "failed_downloads"],
        parameters=options,
        whole={"article_source": article_source},
        slices={"selected_articles": _by_batch(rows, batches.count)},
        options=batches,
    )


def _by_batch(table: pa.Table, count: int) -> dict[str, pa.Table]:
    """The rows of each batch, every batch named; schema metadata dropped so that equal rows have equal digests."""
    positions: dict[str, list[int]] = defaultdict(list)
    for position, article_id in enumerate(table["article_id"].to_pylist()):
        positions[batch_of(article_id, count)].append(position)
    table = table.replace_schema_metadata(None).combine_chunks()
    return {name: table.take(pa.array(positions[name], pa.int64())) for name in batch_names(count)}
