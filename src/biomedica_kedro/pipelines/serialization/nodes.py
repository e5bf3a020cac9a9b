"""Nodes of the serialization pipeline: each maps a function of `shards` over batches or shards.

Figures and data frames are annotated `Any`: Kedro resolves the hints to find the models of the parameters, and
matplotlib and pandas must not be imported for that.
"""

from __future__ import annotations

from typing import Any

from biomedica_kedro.batches import BatchFolder, BatchOptions, PlannedOutput, plan_batches
from biomedica_kedro.shards import audit, card, contact_sheet, export, hub, layout, selection
from biomedica_kedro.shards.card import CardOptions
from biomedica_kedro.shards.contact_sheet import SheetOptions
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.hub import HubOptions
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
    """Choose the figures that may be published and lay out their captions and records.

    Labels are optional: without annotation everything is published unlabeled.
    """
    labels = {"image_labels": image_labels} if image_labels.is_complete() else {}
    return plan_batches(
        selection.prepare_samples,
        stage="prepare_samples",
        outputs=["prepared_samples", "excluded_samples", "article_texts"],
        parameters=options,
        aligned={
            "image_caption_pairs": image_caption_pairs,
            "articles": articles,
            "article_archive": article_archive,
            **labels,
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


def write_dataset_card(
    dataset_metadata: BatchFolder, shard_index: BatchFolder, audit_summary: dict[str, Any], options: CardOptions
) -> tuple[str, dict[str, Any], Any, Any]:
    """Describe the audited data set: card, Croissant metadata, and the counts by license and concept."""
    licenses, concepts = card.report_licenses(dataset_metadata), card.count_concepts(dataset_metadata)
    text = card.write_card(options, audit_summary, licenses, concepts)
    return text, card.croissant(options, shard_index.table(), licenses), licenses, concepts


def draw_contact_sheet(dataset_shards: BatchFolder, dataset_metadata: BatchFolder, options: SheetOptions) -> Any:
    """Draw some of the images with their labels and captions."""
    return contact_sheet.draw_contact_sheet(dataset_shards, dataset_metadata, options)


def push_to_hub(
    dataset_shards: BatchFolder,
    dataset_metadata: BatchFolder,
    shard_index: BatchFolder,
    article_texts: BatchFolder,
    dataset_card: str,
    croissant_metadata: dict[str, Any],
    options: HubOptions,
) -> dict[str, Any]:
    """Publish the data set, when a repository is named."""
    folders = {
        "shards": dataset_shards,
        "metadata": dataset_metadata,
        "index": shard_index,
        "articles": article_texts,
    }
    return hub.push_to_hub(folders, dataset_card, croissant_metadata, options)
