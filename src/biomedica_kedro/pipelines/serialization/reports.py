"""What the data set is, for its readers: audit, card, licenses, pictures, and its publication on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.pmc.source import Source, origin_of
from biomedica_kedro.shards import audit, card, contact_sheet, hub
from biomedica_kedro.shards.card import CardOptions
from biomedica_kedro.shards.contact_sheet import SheetOptions
from biomedica_kedro.shards.croissant import croissant
from biomedica_kedro.shards.hub import HubOptions
from biomedica_kedro.shards.selection import SampleOptions, record_schema
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@stage(version=2)
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
        prepared_samples,
        withdrawn_samples.table(),
    )


@stage(version=4)
def write_dataset_card(
    dataset_metadata: BatchFolder,
    shard_index: BatchFolder,
    dataset_parquet: BatchFolder,
    audit_summary: dict[str, Any],
    article_source: Source,
    article_inventory: pa.Table,
    options: CardOptions,
    samples: SampleOptions,
) -> tuple[str, dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Describe the audited data set: card, Croissant metadata, and the counts by license and concept."""
    licenses, concepts = card.report_licenses(dataset_metadata), card.count_concepts(dataset_metadata)
    index = shard_index.table()
    has_parquet = any(dataset_parquet.file(batch).is_file() for batch in dataset_parquet.names()[:1])
    facts = card.facts_of(
        options, origin_of(article_source), pc.max(article_inventory["last_modified"]).as_py(),
        record=record_schema(samples.profile), has_parquet=has_parquet, languages=card.languages_of(dataset_metadata),
    )  # fmt: skip
    text = card.card_text(facts, audit_summary, index, licenses, concepts)
    return text, croissant(facts, index, licenses), licenses, concepts


@stage(version=1)
def draw_contact_sheet(
    audit_summary: dict[str, Any], dataset_shards: BatchFolder, dataset_metadata: BatchFolder, options: SheetOptions
) -> Figure:
    """Draw some of the images of the audited data set with their labels and captions."""
    return contact_sheet.contact_sheet(dataset_shards, dataset_metadata, options)


@stage(version=2)
def push_to_hub(
    dataset_shards: BatchFolder,
    dataset_parquet: BatchFolder,
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
        "parquet": dataset_parquet,
        "metadata": dataset_metadata,
        "index": shard_index,
        "articles": article_texts,
    }
    reasons = {row["source"]: row["reason"] for row in dataset_metadata.rejects().to_pylist()}
    return hub.publish_folders(folders, dataset_card, croissant_metadata, options, reasons)
