"""The ingestion pipeline: list, read metadata, select, estimate, fetch."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.ingestion.reports import estimate_download
from biomedica_kedro.pipelines.ingestion.stages import (
    downloads_by_batch,
    fetch_articles,
    fetch_pubmed_records,
    inventory_by_batch,
    list_articles,
    pmids_by_batch,
    read_metadata,
    select_articles,
)
from biomedica_kedro.stages.node import batch_node, report_node


def create_pipeline(**_: object) -> Pipeline:
    """The nodes of the stage, in reading order."""
    return Pipeline(
        [
            Node(
                list_articles,
                inputs=["article_source", "entrez", "params:ingestion.list_articles"],
                outputs="article_inventory",
                name="list_articles",
            ),
            batch_node(read_metadata, cut=inventory_by_batch, tools=["article_source"], makes=["article_metadata"]),
            batch_node(
                select_articles,
                whole=["article_metadata"],
                makes=["selected_articles", "license_summary", "article_tombstones"],
            ),
            report_node(
                estimate_download,
                inputs=[
                    "article_source",
                    "selected_articles",
                    "license_summary",
                    "params:ingestion.estimate_download",
                ],
                tools=["article_source"],
                outputs=["download_estimate", "license_plot"],
            ),
            batch_node(fetch_articles, cut=downloads_by_batch, tools=["article_source"], makes=["article_archive"]),
            batch_node(
                fetch_pubmed_records,
                cut=pmids_by_batch,
                tools=["entrez"],
                makes=["pubmed_records"],
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )
