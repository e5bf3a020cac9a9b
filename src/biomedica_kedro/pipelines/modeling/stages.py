"""The modeling's stages: which samples are trained on, and the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from biomedica_kedro.benchmark.monitor import MonitorOptions
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.left_out import left_out
from biomedica_kedro.clip.selection import MANIFEST, SelectionOptions, sampled_captions, select_samples
from biomedica_kedro.clip.stream_selection import SOURCES, as_selected, select_streams
from biomedica_kedro.clip.token_lengths import measure_tokens
from biomedica_kedro.pmc.source import origin_of
from biomedica_kedro.shards.card import described
from biomedica_kedro.shards.sources import StreamOptions
from biomedica_kedro.stages.place import local
from biomedica_kedro.stages.stage import Batch, Tables, stage

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import BaseModel


@stage(version=2)
def select_training_samples(batch: Batch, options: SelectionOptions, stream: StreamOptions) -> Tables:
    """Choose and weigh the samples of the training and validation splits by the recipe in use.

    training_manifest: one row a sample: where it lies, and how often an epoch sees it; none when sources are streamed.
    training_sources: one row a source that is streamed: where it lies, what is asked of its samples, its share of every
    batch. training_counts: samples available and selected by split and concept; of a stream, of its first samples.
    caption_tokens: what text towers of several context lengths would cut from the captions.
    """
    if stream.sources:
        found = select_streams(stream, options.chosen())
        manifest, sources, counts = MANIFEST.empty_table(), found.sources, found.counts
        captions = found.captions[: options.captions_measured]
    else:
        metadata, sources = batch.inputs["dataset_metadata"].table(), SOURCES.empty_table()
        manifest, counts = select_samples(metadata, options)
        captions = sampled_captions(metadata, manifest, options.captions_measured)
        batch.expect(metadata.num_rows)
        batch.reject(left_out(metadata, manifest, options, batch.stage))
    return {
        "training_manifest": manifest, "training_sources": sources, "training_counts": counts,
        "caption_tokens": measure_tokens(captions, options.context_lengths),
    }  # fmt: skip


@stage(version=2)
def train_clip(batch: Batch, options: TrainOptions, monitor: MonitorOptions) -> Tables:
    """Train CLIP on the manifest's samples, read one by one from the shards, or on the sources that are streamed.

    clip_checkpoint: weights and configuration that open_clip loads, and the folders of all trainings; see
    `clip.trainings`. training_history: one row a step.
    """
    # torch and open_clip take seconds to import: only a training that is not done yet pays for them.
    from biomedica_kedro.clip.trainings import declare_finished, finished_history, make_latest, training_folder

    base: BaseModel = batch.inputs["base_clip_model"]
    checkpoint = local(batch.outputs["clip_checkpoint"].path, "training")
    training = training_folder(checkpoint, base.architecture, batch.digest)
    history = finished_history(training)
    if history is None:
        history = _train(batch, options, monitor, training)
        declare_finished(training, history)
    batch.adopt("clip_checkpoint", make_latest(checkpoint, training))
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
        shards = local(batch.inputs["dataset_shards"].path, "reading shards by the metadata table")
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
