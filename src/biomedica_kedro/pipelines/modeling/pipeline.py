"""Select training samples, train CLIP from the shards, show how it went."""

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.modeling.nodes import (
    plot_selection,
    plot_training,
    select_training_samples,
    train_clip,
)


def create_pipeline(**_: object) -> Pipeline:
    """The modeling pipeline."""
    return Pipeline(
        [
            Node(
                select_training_samples,
                inputs=["dataset_metadata", "params:modeling.select_training_samples"],
                outputs=["training_manifest", "training_counts", "caption_tokens"],
                name="select_training_samples",
                tags=["select"],
            ),
            Node(
                plot_selection,
                inputs=["training_counts", "caption_tokens"],
                outputs="selection_plot",
                name="plot_selection",
                tags=["report"],
            ),
            Node(
                train_clip,
                inputs=[
                    "training_manifest",
                    "dataset_shards",
                    "base_clip_model",
                    "training_log",
                    "params:modeling.train_clip",
                ],
                outputs=["clip_checkpoint", "training_history"],
                name="train_clip",
                tags=["train", "gpu"],
            ),
            Node(
                plot_training,
                inputs=["training_history"],
                outputs="training_curves",
                name="plot_training",
                tags=["report"],
            ),
        ],
        namespace="modeling",
        prefix_datasets_with_namespace=False,
    )
