"""The evaluation's stages: a batch is a model on a task; scores run from vectors that are computed once.

Rows of a task that cannot be used are rejected where they are embedded. Where there is no training set, there is
nothing to check for copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from biomedica_kedro.benchmark import classification, probes, retrieval
from biomedica_kedro.benchmark.activation import ready_tasks
from biomedica_kedro.benchmark.classification import PREDICTIONS
from biomedica_kedro.benchmark.contamination import CONTAMINATION, ContaminationOptions, find_copies
from biomedica_kedro.benchmark.encode import ANCHORS, CachedEmbeddings, EmbedOptions, embed_task
from biomedica_kedro.benchmark.models import Models, batch_name, model_and_task
from biomedica_kedro.benchmark.probes import ProbeOptions
from biomedica_kedro.benchmark.retrieval import RetrievalOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import SCORE_ROWS, ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.benchmark.training_images import TrainingImages
from biomedica_kedro.encoders import ModelHandle, encoder_of, machine_threads
from biomedica_kedro.labels.encoders import EncoderHandle
from biomedica_kedro.records import to_table
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import Batch, Tables, stage

if TYPE_CHECKING:
    import pandas as pd

Cut = dict[str, dict[str, Any]]


def models_on_tasks(
    active_tasks: pd.DataFrame,
    benchmark_tasks: Mapping[str, Task],
    benchmark_samples: SampleStore,
    clip_checkpoint: BatchFolder,
    models: Models,
) -> Cut:
    """Every model with every task whose samples are present."""
    ready = ready_tasks(active_tasks)
    return {
        batch_name(choice.id, task): {
            "model": ModelHandle(choice, clip_checkpoint),
            "task": benchmark_tasks[task],
            "samples": benchmark_samples.find(task),
        }
        for choice in models.choices
        for task in ready
    }


@stage(version=1)
def embed_benchmark(batch: Batch, options: EmbedOptions) -> Tables:
    """Embed a task's images and texts under a model, once."""
    with machine_threads():
        encoder = encoder_of(batch.inputs["model"])
        images, anchors, rejects = embed_task(batch.inputs["task"], batch.inputs["samples"], encoder, options)
    batch.reject(rejects)
    with batch.create_beside("benchmark_embeddings", ANCHORS) as path:
        pq.write_table(anchors, path, compression="zstd", write_page_checksum=True)
    return {"benchmark_embeddings": images}


def classification_tasks(
    benchmark_embeddings: BatchFolder, active_tasks: pd.DataFrame, benchmark_tasks: Mapping[str, Task]
) -> Cut:
    """Every model on every task of classes or closed questions."""
    found = _embedded(benchmark_embeddings, active_tasks, benchmark_tasks)
    return {name: inputs for name, inputs in found if inputs["task"].kind is not Kind.RETRIEVAL}


def retrieval_tasks(
    benchmark_embeddings: BatchFolder, active_tasks: pd.DataFrame, benchmark_tasks: Mapping[str, Task]
) -> Cut:
    """Every model on every task of image-caption pairs."""
    found = _embedded(benchmark_embeddings, active_tasks, benchmark_tasks)
    return {name: inputs for name, inputs in found if inputs["task"].kind is Kind.RETRIEVAL}


@stage(version=1)
def score_classification(batch: Batch, options: ScoreOptions) -> Tables:
    """Score a model's zero-shot answers to a classification task, and keep the answers."""
    embedded, subject = batch.inputs["embeddings"].read(), replace(batch.inputs["subject"], seed=options.seed)
    rows, predictions = classification.classification_rows(batch.inputs["task"], embedded, subject, options)
    return {
        "classification_scores": to_table(rows, SCORE_ROWS),
        "predictions": to_table(predictions, PREDICTIONS),
    }


@stage(version=1)
def score_probes(batch: Batch, options: ProbeOptions) -> Tables:
    """Score linear probe, nearest neighbors and few-shot probes on a classification task."""
    embedded, subject = batch.inputs["embeddings"].read(), replace(batch.inputs["subject"], seed=options.seed)
    rows = probes.probe_rows(batch.inputs["task"], embedded, subject, options)
    return {"probe_scores": to_table(rows, SCORE_ROWS)}


@stage(version=1)
def score_retrieval(batch: Batch, options: RetrievalOptions) -> Tables:
    """Score retrieval both ways on a task of image-caption pairs."""
    embedded, subject = batch.inputs["embeddings"].read(), replace(batch.inputs["subject"], seed=options.seed)
    return {"retrieval_scores": to_table(retrieval.retrieval_rows(embedded, subject, options), SCORE_ROWS)}


def tasks_to_check(
    active_tasks: pd.DataFrame,
    benchmark_samples: SampleStore,
    dataset_metadata: BatchFolder,
    image_embeddings: BatchFolder,
    vision_encoder: EncoderHandle,
    check_contamination: ContaminationOptions,
) -> Cut:
    """Every task at hand, where there is a training set; vectors count only where they nominate."""
    if not dataset_metadata.is_complete():
        return {}
    vectors: dict[str, Any] = {}
    if check_contamination.min_similarity is not None:
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


def _embedded(
    embeddings: BatchFolder, active: pd.DataFrame, tasks: Mapping[str, Task]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For every model and task: its embeddings, the task, and what its rows are labeled with (the seed comes later)."""
    facts = active.set_index("task")
    for name in embeddings.names():
        model_id, task_id = model_and_task(name)
        task = tasks[task_id]
        subject = Subject(
            model_id=model_id, task=task_id, domain=task.domain, seed=0,
            synthetic=bool(facts.at[task_id, "synthetic"]), dataset_digest=str(facts.at[task_id, "digest"]),
        )  # fmt: skip
        yield name, {"embeddings": CachedEmbeddings(embeddings, name), "task": task, "subject": subject}
