"""The modeling's stages: which samples are trained on, and the training."""

from __future__ import annotations

from pathlib import Path

from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.selection import SelectionOptions, choose_samples
from biomedica_kedro.clip.token_lengths import measure_tokens
from biomedica_kedro.stages.files import put
from biomedica_kedro.stages.place import local
from biomedica_kedro.stages.stage import Batch, Tables, stage


@stage(version=2)
def select_training_samples(batch: Batch, options: SelectionOptions) -> Tables:
    """Choose and weigh the samples of the training and validation splits by the recipe in use.

    training_manifest: one row a sample: where it lies, and how often an epoch sees it. training_counts: samples
    available and selected by split and concept. caption_tokens: what text towers of several context lengths would cut
    from the captions.
    """
    chosen = choose_samples(batch.inputs["dataset_metadata"].dataset(), options)
    counts = chosen.counts()
    tokens = measure_tokens(chosen.captions(options.captions_measured), options.context_lengths)
    return {"training_manifest": chosen.manifest(), "training_counts": counts, "caption_tokens": tokens}


@stage(version=1)
def train_clip(batch: Batch, options: TrainOptions) -> Tables:
    """Train CLIP on the manifest's samples, read one by one from the shards.

    clip_checkpoint: weights and configuration that open_clip loads. training_history: one row a step.
    """
    # torch and open_clip take seconds to import: only a training that is not done yet pays for them.
    from biomedica_kedro.clip.launch import launch
    from biomedica_kedro.clip.run import TrainingJob, train_from_shards

    scratch, output = batch.scratch("clip_checkpoint"), batch.outputs["clip_checkpoint"]
    stem = output.file(batch.name, "")
    if options.machine.nodes > 1:
        local(output.path, "training with several machines (train_clip.machine.nodes)")
    job = TrainingJob(
        key=batch.digest,
        manifest=batch.inputs["training_manifest"],
        shards=batch.inputs["dataset_shards"].path,
        base=batch.inputs["base_clip_model"],
        options=options,
        scratch=scratch,
        output=stem if isinstance(stem, Path) else scratch / "model" / batch.name,
    )
    for earlier in job.files():
        earlier.unlink()
    is_alone = options.machine.processes * options.machine.nodes == 1
    history = (train_from_shards if is_alone else launch)(job, batch.inputs["training_log"])
    for path in job.files():
        if not isinstance(stem, Path):
            put(path, output.path / path.name)
    batch.adopt("clip_checkpoint", [output.path / path.name for path in job.files()])
    return {"training_history": history}
