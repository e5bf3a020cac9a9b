"""The extraction pipeline: archived articles to image-caption pairs."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from biomedica_kedro.pipelines.extraction.reports import report_extraction
from biomedica_kedro.pipelines.extraction.stages import pair_images_with_captions, parse_articles, verify_images
from biomedica_kedro.stages.node import batch_node, report_node


def create_pipeline(**_: object) -> Pipeline:
    """Parse articles, verify their images, pair them with captions, count."""
    return Pipeline(
        [
            batch_node(parse_articles, each=["article_archive"], makes=["articles", "figures"]),
            batch_node(verify_images, each=["figures", "article_archive"], makes=["figure_images"]),
            batch_node(
                pair_images_with_captions,
                each=["figures", "figure_images", "articles"],
                makes=["image_caption_pairs"],
            ),
            report_node(
                report_extraction,
                inputs=["articles", "figures", "figure_images", "image_caption_pairs"],
                outputs=["corpus_summary", "corpus_plots"],
            ),
        ],
        namespace="extraction",
        prefix_datasets_with_namespace=False,
    )
