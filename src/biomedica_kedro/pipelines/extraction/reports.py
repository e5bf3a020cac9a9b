"""What the extraction came to: counts, and a figure of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biomedica_kedro.quality.summary import summarize
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_MOST_JOURNALS = 25
_PLOTS = {
    "pairs by caption length": "Pairs by caption length (characters)",
    "articles by year": "Articles by year",
    "articles by journal": "Articles by journal",
    "rejects": "Rejects by reason",
}


@stage(version=1)
def report_extraction(
    articles: BatchFolder, figures: BatchFolder, figure_images: BatchFolder, image_caption_pairs: BatchFolder
) -> tuple[pd.DataFrame, Figure]:
    """Count what the extraction came to, and what it left out and why; draw the counts."""
    rejects = {folder.name: folder.rejects() for folder in (articles, figure_images, image_caption_pairs)}
    counts: pd.DataFrame = summarize(articles, figures, image_caption_pairs, rejects).to_pandas()
    return counts, plot_corpus(counts)


def plot_corpus(counts: pd.DataFrame) -> Figure:
    """Bars of caption lengths, of articles by year and by journal, and of rejects by reason."""
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=2, subplot_titles=list(_PLOTS.values()))
    for place, measure in enumerate(_PLOTS):
        is_tall = measure in ("articles by journal", "rejects")
        shown = counts[counts["measure"] == measure].groupby("name")["count"].sum().reset_index()
        if is_tall:
            shown = shown.nlargest(_MOST_JOURNALS, "count").sort_values("count")
        bar = (
            graph_objects.Bar(x=shown["count"], y=shown["name"], orientation="h")
            if is_tall
            else graph_objects.Bar(x=shown["name"], y=shown["count"])
        )
        figure.add_trace(bar, row=place // 2 + 1, col=place % 2 + 1)
    return figure.update_layout(showlegend=False, height=900)
