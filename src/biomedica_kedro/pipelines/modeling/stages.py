"""The modeling's stages: which samples are trained on, the training, and the archive that is searched by the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from biomedica_kedro.archive.index import IndexOptions, facet_rows, fill
from biomedica_kedro.archive.model import ArchiveModel, ArchiveModelOptions, embed
from biomedica_kedro.archive.rows import ArchiveTables, count_facets
from biomedica_kedro.archive.search import INDEX, lance_folder
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.selection import SelectionOptions, sampled_captions, select_samples
from biomedica_kedro.clip.token_lengths import measure_tokens
from biomedica_kedro.images.decode import Pixels, read_pixels
from biomedica_kedro.labels.embedding import embedding_table
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.place import local
from biomedica_kedro.stages.stage import Batch, Tables, stage


@stage(version=1)
def select_training_samples(batch: Batch, options: SelectionOptions) -> Tables:
    """Choose and weigh the samples of the training and validation splits by the recipe in use.

    training_manifest: one row a sample: where it lies, and how often an epoch sees it. training_counts: samples
    available and selected by split and concept. caption_tokens: what text towers of several context lengths would cut
    from the captions.
    """
    metadata = batch.inputs["dataset_metadata"].table()
    manifest, counts = select_samples(metadata, options)
    captions = sampled_captions(metadata, manifest, options.captions_measured)
    tokens = measure_tokens(captions, options.context_lengths)
    return {"training_manifest": manifest, "training_counts": counts, "caption_tokens": tokens}


@stage(version=1)
def train_clip(batch: Batch, options: TrainOptions) -> Tables:
    """Train CLIP on the manifest's samples, read one by one from the shards.

    clip_checkpoint: weights and configuration that open_clip loads. training_history: one row a step.
    """
    # torch and open_clip take seconds to import: only a training that is not done yet pays for them.
    from biomedica_kedro.clip.launch import launch
    from biomedica_kedro.clip.run import TrainingJob, train_from_shards

    job = TrainingJob(
        key=batch.digest,
        manifest=batch.inputs["training_manifest"],
        shards=local(batch.inputs["dataset_shards"].path, "reading shards by the metadata table"),
        base=batch.inputs["base_clip_model"],
        options=options,
        scratch=batch.scratch("clip_checkpoint"),
        output=local(batch.outputs["clip_checkpoint"].file(batch.name, ""), "training"),
    )
    for earlier in job.files():
        earlier.unlink()
    is_alone = options.machine.processes * options.machine.nodes == 1
    history = (train_from_shards if is_alone else launch)(job, batch.inputs["training_log"])
    batch.adopt("clip_checkpoint", job.files())
    return {"training_history": history}


def model_by_batch(
    image_caption_pairs: BatchFolder, clip_checkpoint: BatchFolder, embed_archive: ArchiveModelOptions
) -> dict[str, dict[str, Any]]:
    """The model that makes the vectors of every batch; the checkpoint counts only where it is that model."""
    model = ArchiveModel.choose(embed_archive.model, clip_checkpoint)
    return {batch: {"model": model} for batch in image_caption_pairs.names()}


@stage(version=1)
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


@stage(version=1)
def index_archive(batch: Batch, options: IndexOptions) -> Tables:
    """Make every pair searchable by words, by looks and by what is known of it; only what changed is written anew."""
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
