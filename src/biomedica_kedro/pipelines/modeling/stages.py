"""The modeling's stages: which samples are trained on, and the training."""

from __future__ import annotations

from biomedica_kedro.benchmark.monitor import MonitorOptions
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.selection import SelectionOptions, sampled_captions, select_samples
from biomedica_kedro.clip.token_lengths import measure_tokens
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
def train_clip(batch: Batch, options: TrainOptions, monitor: MonitorOptions) -> Tables:
    """Train CLIP on the manifest's samples, read one by one from the shards.

    clip_checkpoint: weights and configuration that open_clip loads. training_history: one row a step.
    """
    # torch and open_clip take seconds to import: only a training that is not done yet pays for them.
    from biomedica_kedro.clip.launch import launch
    from biomedica_kedro.clip.run import TrainingJob, train_from_shards
    from biomedica_kedro.pipelines.modeling.in_training import measurement

    job = TrainingJob(
        key=batch.digest,
        manifest=batch.inputs["training_manifest"],
        shards=local(batch.inputs["dataset_shards"].path, "reading shards by the metadata table"),
        base=batch.inputs["base_clip_model"],
        options=options,
        scratch=batch.scratch("clip_checkpoint"),
        output=local(batch.outputs["clip_checkpoint"].file(batch.name, ""), "training"),
        measurement=measurement(batch.inputs["benchmark_tasks"], batch.inputs["benchmark_samples"], monitor),
    )
    for earlier in job.files():
        earlier.unlink()
    is_alone = options.machine.processes * options.machine.nodes == 1
    history = (train_from_shards if is_alone else launch)(job, batch.inputs["training_log"])
    batch.adopt("clip_checkpoint", job.files())
    return {"training_history": history}
