"""The ingestion pipeline: list, read metadata, select, estimate, fetch."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.ingestion.nodes import (
    estimate_download,
    fetch_articles,
    fetch_pubmed_records,
    list_articles,
    plot_licences,
    read_metadata,
    select_articles,
)


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
            Node(
                read_metadata,
                inputs=["article_source", "article_inventory", "params:ingestion.read_metadata", "params:batches"],
                outputs=["article_metadata"],
                name="read_metadata",
                tags=["batches"],
            ),
            Node(
                select_articles,
                inputs=["article_metadata", "params:ingestion.select_articles"],
                outputs=["selected_articles", "licence_summary", "article_tombstones"],
                name="select_articles",
            ),
            Node(
                plot_licences, inputs="licence_summary", outputs="licence_plot", name="plot_licences", tags=["report"]
            ),
            Node(
                estimate_download,
                inputs=["article_source", "selected_articles", "params:ingestion.estimate_download"],
                outputs="download_estimate",
                name="estimate_download",
                tags=["report"],
            ),
            Node(
                fetch_articles,
                inputs=["article_source", "selected_articles", "params:ingestion.fetch_articles", "params:batches"],
                outputs=["article_archive", "failed_downloads"],
                name="fetch_articles",
                tags=["batches"],
            ),
            Node(
                fetch_pubmed_records,
                inputs=["entrez", "selected_articles", "params:ingestion.fetch_pubmed_records", "params:batches"],
                outputs=["pubmed_records"],
                name="fetch_pubmed_records",
                tags=["batches"],
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )
