"""The serialization pipeline: image-caption pairs to shards, their index, their audit and their card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.serialization.reports import (
    draw_contact_sheet,
    push_to_hub,
    summarize_audit,
    write_dataset_card,
)
from biomedica_kedro.pipelines.serialization.stages import (
    assign_shards,
    audit_shards,
    list_samples,
    prepare_samples,
    write_shards,
)
from biomedica_kedro.shards.layout import members_of_shards, withdrawn_by_shard
from biomedica_kedro.stages.node import batch_node, report_node


def create_pipeline(**_: object) -> Pipeline:
    """Samples are prepared, assigned to shards, written, listed, read back, described, and published on demand."""
    nodes = [*_shards(), *_description()]
    return Pipeline(nodes, namespace="serialization", prefix_datasets_with_namespace=False)


def _shards() -> list[Node]:
    """Image-caption pairs to shards and the table of what they hold, read back."""
    return [
        batch_node(
            prepare_samples,
            each=["image_caption_pairs", "articles", "image_labels", "image_panels", "article_archive"],
            optional=["image_labels", "image_panels"],
            makes=["prepared_samples", "article_texts"],
        ),
        batch_node(
            assign_shards,
            whole=["prepared_samples"],
            tools=["written_samples"],
            optional=["written_samples"],
            makes=["shard_assignments", "withdrawn_samples"],
        ),
        batch_node(
            write_shards,
            cut=members_of_shards,
            tools=["prepared_samples", "article_archive"],
            makes=["dataset_shards", "shard_index", "shard_contents", "dataset_parquet"],
        ),
        batch_node(list_samples, each=["shard_contents"], cut=withdrawn_by_shard, makes=["dataset_metadata"]),
        batch_node(
            audit_shards,
            each=["dataset_shards", "shard_index", "shard_contents"],
            params=["prepare_samples"],
            makes=["shard_audit"],
        ),
    ]


def _description() -> list[Node]:
    """What the data set is, for its readers."""
    return [
        report_node(
            summarize_audit,
            inputs=[
                "shard_audit",
                "dataset_metadata",
                "image_caption_pairs",
                "prepared_samples",
                "withdrawn_samples",
            ],
            outputs=["audit_summary"],
        ),
        report_node(
            write_dataset_card,
            inputs=[
                "dataset_metadata",
                "shard_index",
                "dataset_parquet",
                "audit_summary",
                "article_source",
                "article_inventory",
                "params:serialization.write_dataset_card",
                "params:serialization.prepare_samples",
            ],
            tools=["article_source", "article_inventory"],
            outputs=["dataset_card", "croissant_metadata", "license_report", "concept_counts"],
        ),
        report_node(
            draw_contact_sheet,
            inputs=[
                "audit_summary",
                "dataset_shards",
                "dataset_metadata",
                "params:serialization.draw_contact_sheet",
            ],
            outputs=["sample_contact_sheet"],
        ),
        report_node(
            push_to_hub,
            inputs=[
                "dataset_shards",
                "dataset_parquet",
                "dataset_metadata",
                "shard_index",
                "article_texts",
                "dataset_card",
                "croissant_metadata",
                "params:serialization.push_to_hub",
            ],
            outputs=["hub_receipt"],
        ),
    ]
