"""What the data set is, for its readers: audit, card, licenses, pictures, and its publication on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from biomedica_kedro.shards import audit, card, contact_sheet, hub
from biomedica_kedro.shards.card import CardOptions
from biomedica_kedro.shards.contact_sheet import SheetOptions
from biomedica_kedro.shards.hub import HubOptions
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@stage(version=1)
def summarize_audit(
    shard_audit: BatchFolder,
    dataset_metadata: BatchFolder,
    image_caption_pairs: BatchFolder,
    prepared_samples: BatchFolder,
    withdrawn_samples: BatchFolder,
) -> dict[str, Any]:
    """Check that every pair is published or excluded for a reason; stop when the audit found anything."""
    return audit.summarize(
        shard_audit.table(),
        dataset_metadata,
        image_caption_pairs,
        prepared_samples.rejects(),
        withdrawn_samples.table(),
    )


@stage(version=1)
def write_dataset_card(
    dataset_metadata: BatchFolder, shard_index: BatchFolder, audit_summary: dict[str, Any], options: CardOptions
) -> tuple[str, dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Describe the audited data set: card, Croissant metadata, and the counts by license and concept."""
    licenses, concepts = card.report_licenses(dataset_metadata), card.count_concepts(dataset_metadata)
    text = card.card_text(options, audit_summary, licenses, concepts)
    return text, card.croissant(options, shard_index.table(), licenses), licenses, concepts


@stage(version=1)
def draw_contact_sheet(
    audit_summary: dict[str, Any], dataset_shards: BatchFolder, dataset_metadata: BatchFolder, options: SheetOptions
) -> Figure:
    """Draw some of the images of the audited data set with their labels and captions."""
    return contact_sheet.contact_sheet(dataset_shards, dataset_metadata, options)


@stage(version=1)
def push_to_hub(
    dataset_shards: BatchFolder,
    dataset_metadata: BatchFolder,
    shard_index: BatchFolder,
    article_texts: BatchFolder,
    dataset_card: str,
    croissant_metadata: dict[str, Any],
    options: HubOptions,
) -> dict[str, Any]:
    """Publish the data set, when a repository or a URL is named."""
    folders = {
        "shards": dataset_shards,
        "metadata": dataset_metadata,
        "index": shard_index,
        "articles": article_texts,
    }
    return hub.publish_folders(folders, dataset_card, croissant_metadata, options)
