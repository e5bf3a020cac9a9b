"""Select training samples, train CLIP from the shards, show how it went, and search the archive by the model."""

from kedro.pipeline import Pipeline

from biomedica_kedro.pipelines.modeling.reports import find_mismatches, plot_selection, plot_training
from biomedica_kedro.pipelines.modeling.stages import (
    embed_archive,
    index_archive,
    model_by_batch,
    model_of_index,
    select_training_samples,
    train_clip,
)
from biomedica_kedro.stages.node import batch_node, report_node

# What is trained on when this is not empty needs no data set of ours.
_STREAMED = "params:modeling.train_clip.stream.sources"


def create_pipeline(**_: object) -> Pipeline:
    """The modeling pipeline."""
    return Pipeline(
        [
            batch_node(
                select_training_samples,
                whole=["dataset_metadata"],
                optional={"dataset_metadata": _STREAMED},
                params=["select_training_samples", "train_clip.stream"],
                makes=["training_manifest", "training_sources", "training_counts", "caption_tokens"],
            ),
            report_node(plot_selection, inputs=["training_counts", "caption_tokens"], outputs=["selection_plot"]),
            batch_node(
                train_clip,
                whole=["training_manifest", "training_sources", "dataset_shards", "base_clip_model"],
                optional={"dataset_shards": _STREAMED},
                tools=["article_source", "training_log", "benchmark_tasks", "benchmark_samples"],
                params=["train_clip", "score_in_training"],
                makes=["clip_checkpoint", "training_history"],
            ),
            report_node(plot_training, inputs=["training_history"], outputs=["training_curves"]),
            report_node(
                find_mismatches,
                inputs=["clip_checkpoint", "dataset_shards", "dataset_metadata", "params:modeling.find_mismatches"],
                outputs=["mismatch_candidates", "mismatch_sheet"],
                optional={"dataset_shards": _STREAMED, "dataset_metadata": _STREAMED},
            ),
            batch_node(
                embed_archive,
                each=["image_caption_pairs", "article_archive"],
                cut=model_by_batch,
                optional={
                    "clip_checkpoint": None,
                    "image_caption_pairs": _STREAMED,
                    "article_archive": _STREAMED,
                },
                makes=["archive_vectors"],
            ),
            batch_node(
                index_archive,
                whole=["image_caption_pairs", "articles", "archive_vectors", "image_labels", "prepared_samples"],
                cut=model_of_index,
                optional={
                    "image_labels": None,
                    "prepared_samples": None,
                    "clip_checkpoint": None,
                    "image_caption_pairs": _STREAMED,
                    "articles": _STREAMED,
                },
                makes=["search_index"],
            ),
        ],
        namespace="modeling",
        prefix_datasets_with_namespace=False,
    )
