"""The evaluation's stages: images are embedded once under a model, scores run from their vectors.

Rows of a task that cannot be used are rejected where they are embedded. Where there is no training set, there is
nothing to check for copies.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from biomedica_kedro.benchmark.activation import ready_tasks
from biomedica_kedro.benchmark.classification import PREDICTIONS
from biomedica_kedro.benchmark.contamination import CONTAMINATION, ContaminationOptions, find_copies
from biomedica_kedro.benchmark.embeddings import ANCHORS, CORRUPTED, VECTORS, CachedEmbeddings
from biomedica_kedro.benchmark.encode import AskedTasks, EmbedOptions, embed_tasks
from biomedica_kedro.benchmark.models import Models, batch_name, model_and_images
from biomedica_kedro.benchmark.robustness import RobustnessOptions, embed_corrupted
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import SCORE_ROWS, Subject
from biomedica_kedro.benchmark.scoring import ScoringOptions, score_task
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.benchmark.training_images import TrainingImages
from biomedica_kedro.encoders import encoder_of
from biomedica_kedro.labels.encoders import EncoderHandle
from biomedica_kedro.pipelines.evaluation.models import find_models
from biomedica_kedro.records import to_table
from biomedica_kedro.stages import BatchFolder, map_items
from biomedica_kedro.stages.stage import Batch, Tables, stage

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Cut = dict[str, dict[str, Any]]


def models_on_images(
    active_tasks: pd.DataFrame,
    benchmark_tasks: Mapping[str, Task],
    benchmark_samples: SampleStore,
    clip_checkpoint: BatchFolder,
    models: Models,
    robustness: RobustnessOptions,
) -> Cut:
    """Every model with the images of every task, once where tasks share them."""
    robustness.check(benchmark_tasks)
    asked: dict[str, dict[str, Any]] = {}
    for images, tasks in _ready_by_images(active_tasks).items():
        here = {task: (benchmark_tasks[task], benchmark_samples.find(task)) for task in tasks}
        kept = {name: (task, samples) for name, (task, samples) in here.items() if samples is not None}
        asked[images] = {"asked": AskedTasks(kept)}
        corrupted = sorted(set(tasks) & set(robustness.tasks))
        if corrupted:
            asked[images] |= {"corrupted": corrupted, "robustness": robustness.model_copy(update={"tasks": ()})}
    handles, left_out = find_models(models, clip_checkpoint)
    for model_id, reason in left_out.items():
        logger.warning("%s is left out: %s", model_id, reason)
    return {
        batch_name(model_id, images): {"model": handle, **inputs}
        for model_id, handle in handles.items()
        for images, inputs in asked.items()
    }


@stage(version=2, gpu=True)
def embed_benchmark(batch: Batch, options: EmbedOptions) -> Tables:
    """Embed the images and texts of a task, or of the tasks that share their images, under a model, once."""
    asked: AskedTasks = batch.inputs["asked"]
    if batch.note_try():  # an image kills its worker: ahead of the others it could not be told which
        options = options.model_copy(update={"threads": 1})
    map_images = partial(map_items, stage=batch.stage, quarantine=batch.quarantine, flight_record=batch.flight_record)
    encoder = encoder_of(batch.inputs["model"])
    embedded = embed_tasks(asked, encoder, options, batch.map, map_images)
    beside = {VECTORS: embedded.vectors, ANCHORS: embedded.anchors}
    for name in batch.inputs.get("corrupted", ()) if encoder.reads_text else ():
        beside[f"{name}-{CORRUPTED}"] = embed_corrupted(
            asked.by_task[name][1], embedded.of(name), encoder, batch.inputs["robustness"], options
        )
    for kind, table in beside.items():
        with batch.create_beside("benchmark_embeddings", kind) as path:
            pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    return {"benchmark_embeddings": embedded.rows}


def models_on_tasks(
    benchmark_embeddings: BatchFolder, active_tasks: pd.DataFrame, benchmark_tasks: Mapping[str, Task]
) -> Cut:
    """Every model on every task."""
    by_images, facts = _ready_by_images(active_tasks), active_tasks.set_index("task")
    found: Cut = {}
    for name in benchmark_embeddings.names():
        model_id, images = model_and_images(name)
        for task_id in by_images[images]:
            task = benchmark_tasks[task_id]
            subject = Subject(
                model_id=model_id, task=task_id, domain=task.domain, seed=0,
                synthetic=bool(facts.at[task_id, "synthetic"]), dataset_digest=str(facts.at[task_id, "digest"]),
            )  # fmt: skip
            embeddings = CachedEmbeddings(benchmark_embeddings, name, task_id)
            found[batch_name(model_id, task_id)] = {"embeddings": embeddings, "task": task, "subject": subject}
    return found


@stage(version=2)
def score_benchmark(batch: Batch, options: ScoringOptions) -> Tables:
    """Score a model on a task: zero-shot and probes, or retrieval both ways; the zero-shot answers are kept."""
    inputs = batch.inputs
    cached: CachedEmbeddings = inputs["embeddings"]
    rows, predictions = score_task(inputs["task"], cached.read(), inputs["subject"], options, cached.corrupted())
    return {"benchmark_scores": to_table(rows, SCORE_ROWS), "predictions": to_table(predictions, PREDICTIONS)}


def tasks_to_check(
    active_tasks: pd.DataFrame,
    benchmark_samples: SampleStore,
    dataset_metadata: BatchFolder,
    image_embeddings: BatchFolder,
    vision_encoder: EncoderHandle,
    check_contamination: ContaminationOptions,
) -> Cut:
    """Every task at hand, where there is a training set of ours; vectors only where they are there and nominate."""
    if not dataset_metadata.is_complete():
        return {}
    vectors: dict[str, Any] = {}
    if check_contamination.min_similarity is not None and image_embeddings.is_complete():
        vectors = {"vectors": image_embeddings, "encoder": vision_encoder}
    return {task: {"samples": benchmark_samples.find(task), **vectors} for task in ready_tasks(active_tasks)}


@stage(version=1)
def check_contamination(batch: Batch, options: ContaminationOptions) -> Tables:
    """Find the images of a task that the training set holds as well."""
    inputs = batch.inputs
    training = TrainingImages(inputs["dataset_metadata"], inputs["dataset_shards"], inputs.get("vectors"))
    encode = inputs["encoder"].build().encode if "encoder" in inputs else None
    copies = find_copies(batch.name, inputs["samples"], training, options, encode)
    return {"contamination": to_table(copies, CONTAMINATION)}


def _ready_by_images(active: pd.DataFrame) -> dict[str, list[str]]:
    """The tasks at hand, by what their images are told apart by."""
    ready = active[active["task"].isin(ready_tasks(active))]
    return {str(images): [str(task) for task in part["task"]] for images, part in ready.groupby("images", sort=True)}
