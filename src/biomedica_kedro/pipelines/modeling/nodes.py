"""Nodes of the modeling pipeline: adaptors between the catalog and `biomedica_kedro.clip`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from biomedica_kedro.batches import Batch, BatchFolder, PlannedOutput, plan_batches
from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.log import TrainingLog
from biomedica_kedro.clip.selection import SelectionOptions, sampled_captions, select_samples
from biomedica_kedro.clip.token_lengths import measure_tokens

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def select_training_samples(dataset_metadata: BatchFolder, options: SelectionOptions) -> list[PlannedOutput]:
    """Choose and weigh the samples of the training and validation splits by the recipe in use.

    Returns:
        training_manifest: one row a sample: where it lies, and how often an epoch sees it.
        training_counts: samples available and selected by split and concept.
        caption_tokens: what text towers of several context lengths would cut from the captions.
    """
    return plan_batches(
        _select,
        stage="select_training_samples",
        outputs=["training_manifest", "training_counts", "caption_tokens"],
        parameters=options,
        whole={"dataset_metadata": dataset_metadata},
    )


def plot_selection(training_counts: BatchFolder, caption_tokens: BatchFolder) -> Figure:
    """Draw what the recipe takes of each concept, and what text towers would cut from the captions."""
    from biomedica_kedro.clip.curves import draw_selection

    return draw_selection(training_counts.table(), caption_tokens.table())


def train_clip(
    training_manifest: BatchFolder,
    dataset_shards: BatchFolder,
    base_clip_model: BaseModel,
    training_log: TrainingLog,
    options: TrainOptions,
) -> list[PlannedOutput]:
    """Train CLIP on the manifest's samples, read one by one from the shards.

    Returns:
        clip_checkpoint: weights and configuration that open_clip loads.
        training_history: one row a step.
    """
    return plan_batches(
        _train,
        stage="train_clip",
        outputs=["clip_checkpoint", "training_history"],
        parameters=options,
        whole={
            "training_manifest": training_manifest,
            "dataset_shards": dataset_shards,
            "base_clip_model": base_clip_model,
            "training_log": training_log,
        },
    )


def plot_training(training_history: BatchFolder) -> Figure:
    """Draw loss, learning rate and validation retrieval over the steps."""
    from biomedica_kedro.clip.curves import draw_curves

    return draw_curves(training_history.table())


def _select(batch: Batch, options: SelectionOptions) -> Mapping[str, pa.Table]:
    metadata = batch.inputs["dataset_metadata"].table()
    manifest, counts = select_samples(metadata, options)
    captions = sampled_captions(metadata, manifest, options.captions_measured)
    tokens = measure_tokens(captions, options.context_lengths)
    return {"training_manifest": manifest, "training_counts": counts, "caption_tokens": tokens}


def _train(batch: Batch, options: TrainOptions) -> Mapping[str, pa.Table]:
    # torch and open_clip take seconds to import: only a training that is not done yet pays for them.
    if options.machine.processes * options.machine.nodes > 1:
        from biomedica_kedro.clip.launch import launch

        return {"training_history": launch(batch, options)}
    from biomedica_kedro.clip.run import train_from_shards

    return {"training_history": train_from_shards(batch, options)}
