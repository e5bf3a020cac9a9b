"""Nodes of the serialization pipeline: each maps a function of `shards` over batches or shards."""

from __future__ import annotations

from typing import Any

from biomedica_kedro.batches import BatchFolder, BatchOptions, PlannedOutput, plan_batches
from biomedica_kedro.shards import audit, export, layout, selection
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.layout import ShardMembers, ShardOptions, Unpinned
from biomedica_kedro.shards.selection import SampleOptions


def prepare_samples(
    image_caption_pairs: BatchFolder,
    articles: BatchFolder,
    image_labels: BatchFolder,
    article_archive: BatchFolder,
    options: SampleOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Choose the figures that may be published and lay out their captions and records."""
    return plan_batches(
        selection.prepare_samples,
        stage="prepare_samples",
        outputs=["prepared_samples", "excluded_samples", "article_texts"],
        parameters=options,
        aligned={
            "image_caption_pairs": image_caption_pairs,
            "articles": articles,
            "image_labels": image_labels,
            "article_archive": article_archive,
        },
        options=batches,
    )


def assign_shards(
    prepared_samples: BatchFolder, excluded_samples: BatchFolder, written_samples: BatchFolder, options: ShardOptions
) -> list[PlannedOutput]:
    """Shuffle the samples into shards, keeping the shards there are."""
    return plan_batches(
        layout.assign_shards,
        stage="assign_shards",
        outputs=["shard_assignments", "withdrawn_samples"],
        parameters=options,
        whole={
            "prepared_samples": prepared_samples,
            "excluded_samples": excluded_samples,
            "written_samples": Unpinned(written_samples),
        },
    )


def write_shards(
    shard_assignments: BatchFolder,
    prepared_samples: BatchFolder,
    article_archive: BatchFolder,
    options: ExportOptions,
    shards: ShardOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Copy images, captions and records into shards, and index them in the same pass."""
    members: dict[str, ShardMembers] = layout.members_of_shards(shard_assignments.table())
    return plan_batches(
        export.write_shard_batch,
        stage="write_shards",
        outputs=["dataset_shards", "shard_index", "shard_contents"],
        parameters={"export": options.model_dump(), "layout": shards.layout},
        slices={"members": members},
        whole={"records": Unpinned(prepared_samples), "archive": Unpinned(article_archive)},
        options=batches,
    )


def list_samples(
    shard_contents: BatchFolder, withdrawn_samples: BatchFolder, batches: BatchOptions
) -> list[PlannedOutput]:
    """List every published sample with its place; what was withdrawn since its shard was written is left out."""
    return plan_batches(
        layout.list_samples,
        stage="list_samples",
        outputs=["dataset_metadata"],
        aligned={"shard_contents": shard_contents},
        slices={"withdrawn": layout.withdrawn_by_shard(withdrawn_samples.table(), shard_contents.names())},
        options=batches,
    )


def audit_shards(
    dataset_shards: BatchFolder,
    shard_index: BatchFolder,
    shard_contents: BatchFolder,
    options: SampleOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Read every shard back and compare it with its index."""
    return plan_batches(
        audit.audit_shard,
        stage="audit_shards",
        outputs=["shard_audit"],
        parameters=options.profile,
        aligned={"dataset_shards": dataset_shards, "shard_index": shard_index, "shard_contents": shard_contents},
        options=batches,
    )


def summarize_audit(
    shard_audit: BatchFolder,
    dataset_metadata: BatchFolder,
    image_caption_pairs: BatchFolder,
    excluded_samples: BatchFolder,
    withdrawn_samples: BatchFolder,
) -> dict[str, Any]:
    """Check that every pair is published or excluded for a reason; stop when the audit found anything."""
    return audit.summarize(
        shard_audit.table(),
        dataset_metadata,
        image_caption_pairs,
        excluded_samples.table(),
        withdrawn_samples.table(),
    )
