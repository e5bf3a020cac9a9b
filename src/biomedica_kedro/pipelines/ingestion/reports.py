"""What will be fetched: licenses, and the size of the download."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from biomedica_kedro.pmc import estimate
from biomedica_kedro.pmc.estimate import EstimateOptions
from biomedica_kedro.pmc.source import Source
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@stage(version=2)
def estimate_download(
    article_source: Source, selected_articles: BatchFolder, license_summary: BatchFolder, options: EstimateOptions
) -> tuple[dict[str, float], Figure]:
    """Estimate the bytes of the download, and draw under which licenses the articles are.

    `--to-nodes=ingestion.estimate_download` stops before the download.
    """
    table = selected_articles.table(columns=["article_id", "location"])
    articles = list(zip(table["article_id"].to_pylist(), table["location"].to_pylist(), strict=True))
    estimated = asdict(estimate.estimate_bytes(article_source, articles, options))
    return estimated, _plot_licenses(license_summary)


def _plot_licenses(license_summary: BatchFolder) -> Figure:
    """Bars of articles per license: selected, and excluded by reason."""
    from plotly import graph_objects  # plotly.express takes three times as long to import

    bars = [
        graph_objects.Bar(name=status, x=[rows["license_group"], rows["license_code"]], y=rows["articles"])
        for status, rows in license_summary.to_pandas().groupby("status")
    ]
    layout = {"barmode": "stack", "title": "Articles by license: selected, or why not", "yaxis_title": "articles"}
    return graph_objects.Figure(bars, layout)
