"""The serialization pipeline: image-caption pairs to shards, their index, and their audit."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.serialization import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Samples are prepared, assigned to shards, written, listed, and read back."""
    return Pipeline(
        [
            Node(
                nodes.prepare_samples,
                inputs=[
                    "image_caption_pairs",
                    "articles",
                    "image_labels",
                    "article_archive",
                    "params:serialization.prepare_samples",
                    "params:batches",
                ],
                outputs=["prepared_samples", "excluded_samples", "article_texts"],
                name="prepare_samples",
                tags=["batches"],
            ),
            Node(
                nodes.assign_shards,
                inputs=[
                    "prepared_samples",
                    "excluded_samples",
                    "written_samples",
                    "params:serialization.assign_shards",
                ],
                outputs=["shard_assignments", "withdrawn_samples"],
                name="assign_shards",
                tags=["batches"],
            ),
            Node(
                nodes.write_shards,
                inputs=[
                    "shard_assignments",
                    "prepared_samples",
                    "article_archive",
                    "params:serialization.write_shards",
                    "params:serialization.assign_shards",
                    "params:batches",
                ],
                outputs=["dataset_shards", "shard_index", "shard_contents"],
                name="write_shards",
                tags=["batches"],
            ),
            Node(
                nodes.list_samples,
                inputs=["shard_contents", "withdrawn_samples", "params:batches"],
                outputs=["dataset_metadata"],
                name="list_samples",
                tags=["batches"],
            ),
            Node(
                nodes.audit_shards,
                inputs=[
                    "dataset_shards",
                    "shard_index",
                    "shard_contents",
                    "params:serialization.prepare_samples",
                    "params:batches",
                ],
                outputs=["shard_audit"],
                name="audit_shards",
                tags=["batches"],
            ),
            Node(
                nodes.summarize_audit,
                inputs=[
                    "shard_audit",
                    "dataset_metadata",
                    "image_caption_pairs",
                    "excluded_samples",
                    "withdrawn_samples",
                ],
                outputs="audit_summary",
                name="summarize_audit",
                tags=["report"],
            ),
        ],
        namespace="serialization",
        prefix_datasets_with_namespace=False,
    )
