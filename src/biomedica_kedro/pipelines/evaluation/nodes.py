"""Nodes of the evaluation pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.batches import Batch, BatchFolder, BatchOptions, IncompleteError, PlannedOutput, plan_batches
from biomedica_kedro.benchmark import activation, classification, comparison, contamination, probes, retrieval, tables
from biomedica_kedro.benchmark.activation import ActivationOptions
from biomedica_kedro.benchmark.classification import PREDICTIONS
from biomedica_kedro.benchmark.contamination import CONTAMINATION, ContaminationOptions
from biomedica_kedro.benchmark.encode import ANCHORS, CachedEmbeddings, EmbedOptions, embed_task
from biomedica_kedro.benchmark.models import batch_name, model_and_task, model_choices
from biomedica_kedro.benchmark.nomination import Nomination, nominate
from biomedica_kedro.benchmark.probes import ProbeOptions
from biomedica_kedro.benchmark.publication import BenchmarkRun, benchmark_runs
from biomedica_kedro.benchmark.retrieval import RetrievalOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import SCORE_ROWS, ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.benchmark.training_images import TrainingImages
from biomedica_kedro.labels.encoders import EncoderHandle
from biomedica_kedro.pipelines.evaluation.encoders import ModelHandle, encoder_of
from biomedica_kedro.records import REJECTS, to_table

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure
else:  # kedro resolves a node's annotations to validate its parameters; importing pandas would slow every command
    DataFrame = Figure = Any


def list_active_tasks(
    benchmark_tasks: Mapping[str, Task],
    benchmark_samples: SampleStore,
    options: ActivationOptions,
) -> DataFrame:
    """Which tasks have samples."""
    return activation.active_tasks(benchmark_tasks, benchmark_samples, options)


def embed_benchmark(
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    benchmark_samples: SampleStore,
    clip_checkpoint: BatchFolder,
    models: Sequence[Any],
    options: EmbedOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Embed every task's images and texts under every model, once."""
    handles = [ModelHandle(choice, clip_checkpoint) for choice in model_choices(models)]
    pairs = {
        batch_name(handle.choice.id, task): (handle, task)
        for handle in handles
        for task in activation.ready_tasks(active_tasks)
    }
    return plan_batches(
        _embed, stage="embed_benchmark", outputs=["benchmark_embeddings", "rejected_samples"], parameters=options,
        slices={
            "model": {name: handle for name, (handle, _) in pairs.items()},
            "task": {name: benchmark_tasks[task] for name, (_, task) in pairs.items()},
            "samples": {name: benchmark_samples.find(task) for name, (_, task) in pairs.items()},
        },
        options=batches,
    )  # fmt: skip


def score_classification(
    benchmark_embeddings: BatchFolder,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    options: ScoreOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Zero-shot scores and predictions of every classification task."""
    return plan_batches(
        _score_classification, stage="score_classification", outputs=["classification_scores", "predictions"],
        parameters=options, options=batches,
        slices=_scored(benchmark_embeddings, active_tasks, benchmark_tasks, options.seed, is_retrieval=False),
    )  # fmt: skip


def score_probes(
    benchmark_embeddings: BatchFolder,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    options: ProbeOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Linear probe, nearest neighbors and few-shot probes of every classification task."""
    return plan_batches(
        _score_probes, stage="score_probes", outputs=["probe_scores"], parameters=options, options=batches,
        slices=_scored(benchmark_embeddings, active_tasks, benchmark_tasks, options.seed, is_retrieval=False),
    )  # fmt: skip


def score_retrieval(
    benchmark_embeddings: BatchFolder,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    options: RetrievalOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Retrieval scores both ways of every task of image-caption pairs."""
    return plan_batches(
        _score_retrieval, stage="score_retrieval", outputs=["retrieval_scores"], parameters=options, options=batches,
        slices=_scored(benchmark_embeddings, active_tasks, benchmark_tasks, options.seed, is_retrieval=True),
    )  # fmt: skip


def check_contamination(
    active_tasks: DataFrame,
    benchmark_samples: SampleStore,
    dataset_metadata: BatchFolder,
    dataset_shards: BatchFolder,
    image_embeddings: BatchFolder,
    vision_encoder: EncoderHandle,
    options: ContaminationOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Benchmark images that the training set holds as well; nothing to do where there is no training set."""
    checked = activation.ready_tasks(active_tasks) if dataset_metadata.is_complete() else []
    whole: dict[str, Any] = {"metadata": dataset_metadata, "shards": dataset_shards}
    if options.min_similarity is not None:
        whole |= {"embeddings": image_embeddings, "encoder": vision_encoder}
    return plan_batches(
        _check_contamination, stage="check_contamination", outputs=["contamination"], parameters=options,
        whole=whole if checked else {}, slices={"samples": {task: benchmark_samples.find(task) for task in checked}},
        options=batches,
    )  # fmt: skip


def compare_models(
    classification_scores: BatchFolder,
    probe_scores: BatchFolder,
    retrieval_scores: BatchFolder,
    predictions: BatchFolder,
    copies: BatchFolder,
    benchmark_tasks: Mapping[str, Task],
    models: Sequence[Any],
    options: ScoreOptions,
) -> tuple[DataFrame, DataFrame, DataFrame, DataFrame, DataFrame, dict[str, float]]:
    """Headline scores, averages, recall by class, paired differences, and the summary's numbers."""
    scores = _scores(classification_scores, probe_scores, retrieval_scores)
    answers = _frame(predictions, PREDICTIONS)
    shown = answers[answers["prompt_set"].isin([options.prompt_set, ""])]
    table = tables.benchmark_table(scores, benchmark_tasks, options.prompt_set)
    table = tables.without_copies(table, shown, _frame(copies, CONTAMINATION))
    averages = tables.domain_averages(table, benchmark_tasks)
    recalls = tables.recall_by_class(scores, options.prompt_set)
    kinds = dict(zip(table["task"], table["samples"], strict=True))
    differences = comparison.compare_models(shown, kinds, seed=options.seed)
    leading = model_choices(models)[0].id
    summary = tables.summary(scores, table, averages, benchmark_tasks, model_id=leading, prompt_set=options.prompt_set)
    return table, averages, recalls, tables.probe_table(scores), differences, summary


def draw_leaderboard(
    benchmark_table: DataFrame,
    domain_averages: DataFrame,
    class_recalls: DataFrame,
    probe_table: DataFrame,
    model_comparison: DataFrame,
    active_tasks: DataFrame,
    published_scores: DataFrame,
) -> tuple[Figure, str]:
    """The leaderboard as a figure and as a page of its own."""
    from biomedica_kedro.benchmark.leaderboard import leaderboard_figure, leaderboard_page

    page = leaderboard_page(
        benchmark_table,
        {
            "averages": domain_averages, "recalls": class_recalls, "probes": probe_table,
            "comparison": model_comparison, "active": active_tasks, "published": published_scores,
        },
    )  # fmt: skip
    return leaderboard_figure(benchmark_table), page


def write_tables(
    benchmark_table: DataFrame,
    domain_averages: DataFrame,
    class_recalls: DataFrame,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
) -> tuple[dict[str, str], dict[str, str]]:
    """A card a measured task with an index of them, and the scores for a paper or a README."""
    from biomedica_kedro.benchmark.cards import scores_latex, scores_markdown, task_card

    active = active_tasks.set_index("task", drop=False).to_dict("index")
    cards = {
        task: task_card(benchmark_tasks[task], active[task], benchmark_table, class_recalls)
        for task in activation.ready_tasks(active_tasks)
    }
    links = [f"- [{benchmark_tasks[task].title}]({task}.md)" for task in cards]
    index = [f"# Task cards\n\n{len(cards)} of {len(active)} tasks were measured.\n", *links]
    scores = (benchmark_table, domain_averages)
    return {"README": "\n".join(index), **cards}, {
        "scores.md": scores_markdown(*scores),
        "scores.tex": scores_latex(*scores),
    }


def draw_diagnostics(
    predictions: BatchFolder,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    models: Sequence[Any],
    options: ScoreOptions,
) -> tuple[Figure, Figure]:
    """Confusion matrices and reliability curves of the leading model."""
    from biomedica_kedro.benchmark.plots import confusion_figure, reliability_figure

    answers = _frame(predictions, PREDICTIONS)
    is_shown = answers["prompt_set"].isin([options.prompt_set, ""])
    leading = answers[is_shown & (answers["model_id"] == model_choices(models)[0].id)]
    synthetic = dict(zip(active_tasks["task"], active_tasks["synthetic"], strict=True))
    return (
        confusion_figure(leading, benchmark_tasks, synthetic),
        reliability_figure(leading, benchmark_tasks, synthetic),
    )


def publish_benchmark(
    classification_scores: BatchFolder,
    probe_scores: BatchFolder,
    retrieval_scores: BatchFolder,
    copies: BatchFolder,
    domain_averages: DataFrame,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    leaderboard_page: str,
    task_cards: Mapping[str, Callable[[], str]],
    score_tables: Mapping[str, Callable[[], str]],
    options: ScoreOptions,
) -> list[BenchmarkRun]:
    """One run a model for the tracker."""
    texts = {name: load() for name, load in score_tables.items()}
    texts |= {f"cards/{name}.md": load() for name, load in task_cards.items()}
    artifacts = {name: text.encode() for name, text in {"leaderboard.html": leaderboard_page, **texts}.items()}
    copied = {task: copies.table(task).num_rows for task in copies.names()}
    return benchmark_runs(
        _scores(classification_scores, probe_scores, retrieval_scores), domain_averages, active_tasks, benchmark_tasks,
        copied=copied, prompt_set=options.prompt_set, artifacts=artifacts,
    )  # fmt: skip


def nominate_champion(model_comparison: DataFrame, clip_checkpoint: BatchFolder, models: Sequence[Any]) -> Nomination:
    """Whom the leading model beats on the same samples."""
    handles = [ModelHandle(choice, clip_checkpoint) for choice in model_choices(models)]
    weights = {handle.choice.id: handle.weights() for handle in handles}
    return nominate(model_comparison, weights, model_id=handles[0].choice.id)


def _embed(batch: Batch, options: EmbedOptions) -> dict[str, pa.Table]:
    encoder = encoder_of(batch.inputs["model"])
    images, anchors, rejects = embed_task(batch.inputs["task"], batch.inputs["samples"], encoder, options)
    with batch.create("benchmark_embeddings", ANCHORS) as path:
        pq.write_table(anchors, path, compression="zstd", write_page_checksum=True)
    return {"benchmark_embeddings": images, "rejected_samples": to_table(rejects, REJECTS)}


def _score_classification(batch: Batch, options: ScoreOptions) -> dict[str, pa.Table]:
    rows, predictions = classification.score_classification(
        batch.inputs["task"], batch.inputs["embeddings"].read(), batch.inputs["subject"], options
    )
    return {
        "classification_scores": to_table(rows, SCORE_ROWS),
        "predictions": to_table(predictions, PREDICTIONS),
    }


def _score_probes(batch: Batch, options: ProbeOptions) -> dict[str, pa.Table]:
    rows = probes.score_probes(
        batch.inputs["task"], batch.inputs["embeddings"].read(), batch.inputs["subject"], options
    )
    return {"probe_scores": to_table(rows, SCORE_ROWS)}


def _score_retrieval(batch: Batch, options: RetrievalOptions) -> dict[str, pa.Table]:
    rows = retrieval.score_retrieval(batch.inputs["embeddings"].read(), batch.inputs["subject"], options)
    return {"retrieval_scores": to_table(rows, SCORE_ROWS)}


def _check_contamination(batch: Batch, options: ContaminationOptions) -> dict[str, pa.Table]:
    inputs = batch.inputs
    training = TrainingImages(inputs["metadata"], inputs["shards"], inputs.get("embeddings"))
    encode = inputs["encoder"].build().encode if "encoder" in inputs else None
    copies = contamination.find_copies(batch.name, inputs["samples"], training, options, encode)
    return {"contamination": to_table(copies, CONTAMINATION)}


def _scored(
    embeddings: BatchFolder, active: DataFrame, tasks: Mapping[str, Task], seed: int, *, is_retrieval: bool
) -> dict[str, dict[str, Any]]:
    """For every model and task of a kind: its embeddings, the task, and what its rows are labeled with."""
    facts = active.set_index("task")
    slices: dict[str, dict[str, Any]] = {"embeddings": {}, "task": {}, "subject": {}}
    for name in embeddings.names():
        model_id, task_id = model_and_task(name)
        task = tasks[task_id]
        if (task.kind is Kind.RETRIEVAL) is is_retrieval:
            slices["embeddings"][name] = CachedEmbeddings(embeddings, name)
            slices["task"][name] = task
            slices["subject"][name] = Subject(
                model_id=model_id, task=task_id, domain=task.domain, seed=seed,
                synthetic=bool(facts.at[task_id, "synthetic"]), dataset_digest=str(facts.at[task_id, "digest"]),
            )  # fmt: skip
    return slices


def _scores(*folders: BatchFolder) -> DataFrame:
    import pandas as pd

    return pd.concat([_frame(folder, SCORE_ROWS) for folder in folders], ignore_index=True)


def _frame(folder: BatchFolder, schema: pa.Schema) -> DataFrame:
    try:
        table = folder.table()
    except IncompleteError:
        if not folder.is_complete():
            raise
        table = schema.empty_table()
    frame: DataFrame = table.to_pandas()
    return frame
