"""The modeling's stages: which samples are trained on, the training, and the archive that is searched by the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from biomedica_kedro.archive.index import IndexOptions, facet_rows, fill
from biomedica_kedro.archive.model import ArchiveModel, ArchiveModelOptions, embed
from biomedica_kedro.archive.rows import ArchiveTables, count_facets
from biomedica_kedro.archive.search import INDEX, lance_folder
from biomedica_kedro.benchmark.monitor import MonitorOptions
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.left_out import left_out
from biomedica_kedro.clip.selection import MANIFEST, SelectionOptions, choose_samples
from biomedica_kedro.clip.stream_selection import SOURCES, as_selected, select_streams
from biomedica_kedro.clip.token_lengths import measure_tokens
from biomedica_kedro.images.decode import Pixels, read_pixels
from biomedica_kedro.labels.embedding import embedding_table
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.pmc.source import origin_of
from biomedica_kedro.shards.card import described
from biomedica_kedro.shards.sources import StreamOptions
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.files import put
from biomedica_kedro.stages.place import local
from biomedica_kedro.stages.stage import Batch, Tables, stage

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import BaseModel


@stage(version=3)
def select_training_samples(batch: Batch, options: SelectionOptions, stream: StreamOptions) -> Tables:
    """Choose and weigh the samples of the training and validation splits by the recipe in use.

    training_manifest: one row a sample: where it lies, and how often an epoch sees it; none when sources are streamed.
    training_sources: one row a source that is streamed: where it lies, what is asked of its samples, its share of every
    batch. training_counts: samples available and selected by split and concept; of a stream, of its first samples.
    caption_tokens: what text towers of several context lengths would cut from the captions.
    """
    if stream.sources:
        found = select_streams(stream, options.chosen())
        return {
            "training_manifest": MANIFEST.empty_table(), "training_sources": found.sources,
            "training_counts": found.counts,
            "caption_tokens": measure_tokens(found.captions[: options.captions_measured], options.context_lengths),
        }  # fmt: skip
    metadata = batch.inputs["dataset_metadata"].dataset()
    chosen = choose_samples(metadata, options)
    batch.expect(metadata.count_rows())
    batch.reject(left_out(chosen, batch.stage))
    counts, captions = chosen.counts(), chosen.captions(options.captions_measured)
    return {
        "training_manifest": chosen.manifest(), "training_sources": SOURCES.empty_table(), "training_counts": counts,
        "caption_tokens": measure_tokens(captions, options.context_lengths),
    }  # fmt: skip


@stage(version=2, gpu=True)
def train_clip(batch: Batch, options: TrainOptions, monitor: MonitorOptions) -> Tables:
    """Train CLIP on the manifest's samples, read one by one from the shards, or on the sources that are streamed.

    clip_checkpoint: weights and configuration that open_clip loads, and the folders of all trainings; see
    `clip.trainings`. training_history: one row a step.
    """
    # torch and open_clip take seconds to import: only a training that is not done yet pays for them.
    from biomedica_kedro.clip.trainings import declare_finished, finished_history, make_latest, training_folder

    base: BaseModel = batch.inputs["base_clip_model"]
    output = batch.outputs["clip_checkpoint"]
    checkpoint = output.path if isinstance(output.path, Path) else output.unfinished
    training = training_folder(checkpoint, base.architecture, batch.digest)
    history = finished_history(training)
    if history is None:
        history = _train(batch, options, monitor, training)
        declare_finished(training, history)
    files = make_latest(checkpoint, training)
    if checkpoint is not output.path:
        for path in files:
            put(path, output.path / path.name)
    batch.adopt("clip_checkpoint", [output.path / path.name for path in files])
    return {"training_history": history}


def _train(batch: Batch, options: TrainOptions, monitor: MonitorOptions, training: Path) -> pa.Table:
    from biomedica_kedro.clip.launch import launch
    from biomedica_kedro.clip.run import TrainingJob, train_from_shards
    from biomedica_kedro.pipelines.modeling.in_training import measurement

    chosen, shards = batch.inputs["training_manifest"], None
    if options.stream.sources:
        chosen = batch.inputs["training_sources"]
        options = options.model_copy(update={"stream": as_selected(options.stream, chosen.table())})
    else:
        shards = batch.inputs["dataset_shards"].path
    if options.machine.nodes > 1:
        local(batch.outputs["clip_checkpoint"].path, "training with several machines (train_clip.machine.nodes)")
    title, summary = described(origin_of(batch.inputs["article_source"]))
    job = TrainingJob(
        key=batch.digest,
        chosen=chosen,
        shards=shards,
        base=batch.inputs["base_clip_model"],
        options=options,
        scratch=batch.scratch("clip_checkpoint"),
        output=training / batch.name,
        data={"title": title, "summary": summary},
        measurement=measurement(batch.inputs["benchmark_tasks"], batch.inputs["benchmark_samples"], monitor),
    )
    is_alone = options.machine.processes * options.machine.nodes == 1
    return (train_from_shards if is_alone else launch)(job, batch.inputs["training_log"])


def model_by_batch(
    image_caption_pairs: BatchFolder, clip_checkpoint: BatchFolder, embed_archive: ArchiveModelOptions
) -> dict[str, dict[str, Any]]:
    """The model that makes the vectors of every batch; the checkpoint counts only where it is that model."""
    if not image_caption_pairs.is_complete():
        return {WHOLE: {"model": ArchiveModel.choose(None, clip_checkpoint)}}  # what is trained on is streamed
    model = ArchiveModel.choose(embed_archive.model, clip_checkpoint)
    return {batch: {"model": model} for batch in image_caption_pairs.names()}


@stage(version=1, gpu=True)
def embed_archive(batch: Batch, options: ArchiveModelOptions) -> Tables:
    """Turn each image into the vector that it is found by; what cannot be decoded is rejected."""
    handle = batch.inputs["model"].handle
    if handle is None:
        return {"archive_vectors": embedding_table([], np.zeros((0, 1)))}
    rows = batch.table("image_caption_pairs", ["key", "article_id", "file_name"]).to_pylist()
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:

        def read(row: Mapping[str, Any]) -> Pixels:
            return read_pixels(archive.read(row["article_id"], row["file_name"]))

        keys, vectors = embed(rows, read, handle, options.batch_size, batch.map)
    return {"archive_vectors": embedding_table(keys, vectors)}


def model_of_index(clip_checkpoint: BatchFolder, embed_archive: ArchiveModelOptions) -> dict[str, dict[str, Any]]:
    """The model that the index names as the one that made its vectors."""
    return {WHOLE: {"model": ArchiveModel.choose(embed_archive.model, clip_checkpoint)}}


@stage(version=1, in_process=True)
def index_archive(batch: Batch, options: IndexOptions) -> Tables:
    """Make every pair searchable by words, by looks and by what is known of it; only what changed is written anew."""
    if "image_caption_pairs" not in batch.inputs:
        return {"search_index": count_facets(iter(()))}
    tables = ArchiveTables(
        pairs=batch.inputs["image_caption_pairs"],
        articles=batch.inputs["articles"],
        vectors=batch.inputs["archive_vectors"],
        labels=batch.inputs.get("image_labels"),
        samples=batch.inputs.get("prepared_samples"),
    )
    folder = lance_folder(batch.outputs["search_index"])
    fill(folder, tables, options)
    with batch.open_beside("search_index", INDEX) as file:
        file.write(batch.inputs["model"].content())
    return {"search_index": count_facets(facet_rows(folder))}
