"""The extraction pipeline: archived articles to image-caption pairs."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.extraction.nodes import (
    pair_images_with_captions,
    parse_articles,
    plot_corpus,
    summarise_corpus,
    verify_images,
)


def create_pipeline(**_: object) -> Pipeline:
    """Parse articles, verify their images, pair them with captions, count."""
    return Pipeline(
        [
            Node(
                parse_articles,
                inputs=["article_archive", "params:batches"],
                outputs=["articles", "figures", "rejected_articles"],
                name="parse_articles",
                tags=["batches"],
            ),
            Node(
                verify_images,
                inputs=["figures", "article_archive", "params:extraction.verify_images", "params:batches"],
                outputs=["figure_images", "rejected_images"],
                name="verify_images",
                tags=["batches"],
            ),
            Node(
                pair_images_with_captions,
                inputs=[
                    "figures",
                    "figure_images",
                    "articles",
                    "params:extraction.pair_images_with_captions",
                    "params:batches",
                ],
                outputs=["image_caption_pairs", "rejected_pairs"],
                name="pair_images_with_captions",
                tags=["batches"],
            ),
            Node(
                summarise_corpus,
                inputs=[
                    "articles",
                    "figures",
                    "image_caption_pairs",
                    "rejected_articles",
                    "rejected_images",
                    "rejected_pairs",
                ],
                outputs="corpus_summary",
                name="summarise_corpus",
                tags=["report"],
            ),
            Node(
                plot_corpus,
                inputs="corpus_summary",
                outputs=["caption_lengths", "articles_by_year", "articles_by_journal", "extraction_rejects"],
                name="plot_corpus",
                tags=["report"],
            ),
        ],
        namespace="extraction",
        prefix_datasets_with_namespace=False,
    )
