"""Nodes of the extraction pipeline: adaptors between the catalog and `jats` and `images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biomedica_kedro.batches import BatchFolder, BatchOptions, PlannedOutput, plan_batches
from biomedica_kedro.images import stage as image_stage
from biomedica_kedro.images.decode import ImageLimits
from biomedica_kedro.images.pairs import PairOptions
from biomedica_kedro.jats import stage as article_stage
from biomedica_kedro.jats import summary

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_MOST_JOURNALS = 25


def parse_articles(article_archive: BatchFolder, batches: BatchOptions) -> list[PlannedOutput]:
    """Read every archived article: front matter, text, references, figures, captions, mentions."""
    return plan_batches(
        article_stage.parse_batch,
        stage="parse_articles",
        outputs=["articles", "figures", "rejected_articles"],
        aligned={"article_archive": article_archive},
        options=batches,
    )


def verify_images(
    figures: BatchFolder, article_archive: BatchFolder, limits: ImageLimits, batches: BatchOptions
) -> list[PlannedOutput]:
    """Open every image a figure names once; keep its facts, or say why it cannot be used."""
    return plan_batches(
        image_stage.verify_batch,
        stage="verify_images",
        outputs=["figure_images", "rejected_images"],
        parameters=limits,
        aligned={"figures": figures, "article_archive": article_archive},
        options=batches,
    )


def pair_images_with_captions(
    figures: BatchFolder, figure_images: BatchFolder, articles: BatchFolder, options: PairOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Pair every verified image with its figure's caption and mentions, or say why it makes no pair."""
    return plan_batches(
        image_stage.pair_batch,
        stage="pair_images_with_captions",
        outputs=["image_caption_pairs", "rejected_pairs"],
        parameters=options,
        aligned={"figures": figures, "figure_images": figure_images, "articles": articles},
        options=batches,
    )


def summarise_corpus(
    articles: BatchFolder,
    figures: BatchFolder,
    image_caption_pairs: BatchFolder,
    rejected_articles: BatchFolder,
    rejected_images: BatchFolder,
    rejected_pairs: BatchFolder,
) -> pd.DataFrame:
    """Count what the extraction came to, and what it left out and why."""
    rejects = [rejected_articles, rejected_images, rejected_pairs]
    table: pd.DataFrame = summary.summarise(articles, figures, image_caption_pairs, rejects).to_pandas()
    return table


def plot_corpus(corpus_summary: pd.DataFrame) -> tuple[Figure, Figure, Figure, Figure]:
    """Draw the summary: caption lengths, articles by year and by journal, rejects by reason."""
    import plotly.express as px

    measures = dict(tuple(corpus_summary.groupby("measure")))
    none = corpus_summary.iloc[:0]
    lengths = px.bar(
        measures.get("pairs by caption length", none), x="name", y="count", title="Pairs by caption length (characters)"
    )
    years = px.bar(
        measures.get("articles by year", none),
        x="name",
        y="count",
        color="detail",
        title="Articles by year and license",
    )
    journals = measures.get("articles by journal", none).nlargest(_MOST_JOURNALS, "count").sort_values("count")
    by_journal = px.bar(journals, x="count", y="name", orientation="h", title="Articles by journal")
    rejects = px.bar(
        measures.get("rejects", none), x="count", y="name", color="detail", orientation="h", title="Rejects by reason"
    )
    return lengths, years, by_journal, rejects
