"""The serialization's stages: image-caption pairs to shards, their index, the list of samples, and an audit."""

from __future__ import annotations

from contextlib import ExitStack

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import DATASET_METADATA, DataError, Reject, RejectReason, to_table
from biomedica_kedro.shards import refill
from biomedica_kedro.shards.audit import SHARD_AUDIT, AuditError, audit_shard, damage_of
from biomedica_kedro.shards.embedded import SUFFIX as PARQUET
from biomedica_kedro.shards.embedded import EmbeddedWriter
from biomedica_kedro.shards.export import ExportOptions, SampleSources, write_shard
from biomedica_kedro.shards.fields import Row, article_part
from biomedica_kedro.shards.layout import ShardOptions, assign_samples
from biomedica_kedro.shards.panels import exclude_panel, is_panel, panel_facts, panels_of
from biomedica_kedro.shards.selection import (
    ARTICLE_TEXTS,
    KEPT_OUT,
    PREPARED_SAMPLES,
    RECORDS,
    Profile,
    SampleLayout,
    SampleOptions,
    by_article,
    exclude,
)
from biomedica_kedro.shards.writer import SUFFIX
from biomedica_kedro.stages.parquet import write_parquet
from biomedica_kedro.stages.place import as_local
from biomedica_kedro.stages.stage import Batch, Tables, stage


@stage(version=4)
def prepare_samples(batch: Batch, options: SampleOptions) -> Tables:
    """Choose the figures, and panels of them, that may be published and lay out their captions and records.

    Labels are optional: without annotation everything is published unlabeled. article_texts has rows in the compact
    profile only; beside it lies what licenses keep out, as references (`shards.refill`).
    """
    articles = {row["article_id"]: row for row in batch.table("articles").to_pylist()}
    labels, panels = _by_key(batch, "image_labels"), _by_key(batch, "image_panels")
    if options.panels and "image_panels" not in batch.inputs:
        raise ValueError(
            "serialization.prepare_samples.panels is true, but nobody has looked for panels yet: run the annotation "
            "before (kedro run --pipelines=annotation,serialization)"
        )
    index = batch.table("article_archive").to_pylist()
    places = {(row["article_id"], row["member"]): (row["offset"], row["n_bytes"]) for row in index}
    seen: set[str] = set()

    def label_of(pair: Row) -> Row:
        return {**labels.get(pair["key"], {}), **panel_facts(pair, panels.get(pair.get("parent_key", pair["key"])))}

    def check(pair: Row) -> Row:
        exclude(pair, articles.get(pair["article_id"]), options)
        if is_panel(pair):
            exclude_panel(pair)
        if (pair["article_id"], pair["file_name"]) not in places:
            raise DataError(RejectReason.MISSING_FILE, f"the archive holds no {pair['file_name']}")
        if pair["key"] in seen:
            raise DataError(RejectReason.DUPLICATE_KEY, pair["key"])
        seen.add(pair["key"])
        return pair

    pairs = sorted(batch.table("image_caption_pairs").to_pylist(), key=lambda pair: str(pair["key"]))
    cut = panels if options.panels else {}
    items = [item for pair in pairs for item in (pair, *panels_of(pair, cut.get(pair["key"])))]
    kept = batch.map(check, items, source=lambda pair: str(pair["key"]))
    texts: list[Row] = []
    with batch.open_beside("prepared_samples", RECORDS) as file:
        layout = SampleLayout(file, options, places)
        for article_id, figures in by_article(kept):
            article = articles[article_id]
            shared = article_part(article, [pair for pair in figures if not is_panel(pair)])
            layout.add_article(article, shared, [(pair, label_of(pair)) for pair in figures])
            if options.profile is Profile.COMPACT:
                text = orjson.dumps(shared).decode()
                texts.append({"article_id": article_id, "license_group": article["license_group"], "record": text})
    kept_out = {reject.source: str(reject.reason) for reject in batch.ledger.rejects if reject.reason in KEPT_OUT}
    references = [
        refill.reference_row(pair, articles[pair["article_id"]], label_of(pair), options, kept_out[pair["key"]])
        for pair in pairs if pair["key"] in kept_out
    ]  # fmt: skip
    if references:
        with batch.create_beside("article_texts", refill.BESIDE) as path:
            write_parquet(path, to_table(references, refill.REFERENCES))
    return {
        "prepared_samples": to_table(layout.rows, PREPARED_SAMPLES),
        "article_texts": to_table(texts, ARTICLE_TEXTS),
    }


def _by_key(batch: Batch, name: str) -> dict[str, Row]:
    """Rows of what the annotation made, by key; none where it did not run."""
    return {row["key"]: row for row in batch.table(name).to_pylist()} if name in batch.inputs else {}


@stage(version=2)
def assign_shards(batch: Batch, options: ShardOptions) -> Tables:
    """Shuffle the samples into shards, keeping the shards there are."""
    prepared, written = batch.inputs["prepared_samples"], batch.inputs.get("written_samples")
    assignments, withdrawn = assign_samples(prepared, written, options)
    return {"shard_assignments": assignments, "withdrawn_samples": withdrawn}


@stage(version=4)
def write_shards(batch: Batch, options: ExportOptions) -> Tables:
    """Copy images, captions and records into shards, and into Parquet if wanted, and index them in the same pass."""
    members = batch.inputs["members"].rows()
    sources = SampleSources(batch.inputs["article_archive"], batch.inputs["prepared_samples"])
    with ExitStack() as open_files:
        file = open_files.enter_context(batch.open("dataset_shards", SUFFIX))
        open_files.enter_context(sources)
        embedded = None
        if options.parquet:
            path = open_files.enter_context(batch.create("dataset_parquet", PARQUET))
            embedded = open_files.enter_context(EmbeddedWriter(path, options.rows_per_group))
        index, contents = write_shard(batch.name, members, file, sources, options, embedded)
    return {"shard_index": index, "shard_contents": contents}


@stage(version=4)
def list_samples(batch: Batch) -> Tables:
    """List every published sample with its place; what was withdrawn since its shard was written is rejected."""
    contents, reasons = batch.table("shard_contents", DATASET_METADATA.names), batch.inputs["withdrawn"]
    gone = pc.is_in(contents["key"], pa.array(list(reasons), pa.string()))
    batch.expect(contents.num_rows)
    batch.reject(
        Reject(key, batch.stage, RejectReason(reasons[key]), f"withdrawn from {batch.name}{SUFFIX}")
        for key in contents.filter(gone)["key"].to_pylist()
    )
    return {"dataset_metadata": contents.filter(pc.invert(gone)).replace_schema_metadata(None)}


@stage(version=4)
def audit_shards(batch: Batch, options: SampleOptions) -> Tables:
    """Read every shard back and compare it with its index; one that is damaged stops the run."""
    path = batch.inputs["dataset_shards"].file(batch.name, SUFFIX)
    (entry,) = batch.table("shard_index").to_pylist()
    with as_local(path) as here:
        row = audit_shard(here, entry, batch.table("shard_contents").to_pylist(), options.profile)
    if row["problems"]:  # it is not committed: once the shard is whole again, it is read again
        raise AuditError(damage_of(row, path))
    return {"shard_audit": to_table([row], SHARD_AUDIT)}
