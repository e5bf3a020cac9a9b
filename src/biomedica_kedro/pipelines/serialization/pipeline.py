"""The serialization pipeline: image-caption pairs to shards, their index, their audit and their card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.serialization import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Samples are prepared, assigned to shards, written, listed, read back, described, and published on demand."""
    return Pipeline(
        [*_shards(), *_audit(), *_description()],
        namespace="serialization",
        prefix_datasets_with_namespace=False,
    )


def _shards() -> list[Node]:
    """Image-caption pairs to shards and the table of what they hold."""
    return [
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
    ]


def _audit() -> list[Node]:
    """The shards, read back."""
    return [
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
    ]


def _description() -> list[Node]:
    """What the data set is, for its readers."""
    return [
        Node(
            nodes.write_dataset_card,
            inputs=[
                "dataset_metadata",
                "shard_index",
                "audit_summary",
                "params:serialization.write_dataset_card",
            ],
            outputs=["dataset_card", "croissant_metadata", "license_report", "concept_counts"],
            name="write_dataset_card",
            tags=["report"],
        ),
        Node(
            nodes.draw_contact_sheet,
            inputs=["dataset_shards", "dataset_metadata", "params:serialization.draw_contact_sheet"],
            outputs="sample_contact_sheet",
            name="draw_contact_sheet",
            tags=["report"],
        ),
        Node(
            nodes.push_to_hub,
            inputs=[
                "dataset_shards",
                "dataset_metadata",
                "shard_index",
                "article_texts",
                "dataset_card",
                "croissant_metadata",
                "params:serialization.push_to_hub",
            ],
            outputs="hub_receipt",
            name="push_to_hub",
            tags=["report"],
        ),
    ]
