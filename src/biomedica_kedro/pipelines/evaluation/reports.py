"""What the benchmark came to: tables, the leaderboard and its pages, runs for the tracker, the champion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from biomedica_kedro.benchmark import activation, comparison, tables
from biomedica_kedro.benchmark.activation import ActivationOptions
from biomedica_kedro.benchmark.classification import PREDICTIONS
from biomedica_kedro.benchmark.contamination import CONTAMINATION
from biomedica_kedro.benchmark.models import Models
from biomedica_kedro.benchmark.promotion import PromotionCandidate, promotion_candidate
from biomedica_kedro.benchmark.publication import BenchmarkRun, benchmark_runs
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import SCORE_ROWS, ScoreOptions
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.encoders import ModelHandle
from biomedica_kedro.stages import BatchFolder, IncompleteError
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture
    from pandas import DataFrame
    from plotly.graph_objects import Figure


@stage(version=1)
def list_active_tasks(
    benchmark_tasks: Mapping[str, Task], benchmark_samples: SampleStore, options: ActivationOptions
) -> DataFrame:
    """List which tasks have samples."""
    return activation.active_tasks(benchmark_tasks, benchmark_samples, options)


@stage(version=1)
def compare_models(
    classification_scores: BatchFolder,
    probe_scores: BatchFolder,
    retrieval_scores: BatchFolder,
    predictions: BatchFolder,
    contamination: BatchFolder,
    benchmark_tasks: Mapping[str, Task],
    models: Models,
    options: ScoreOptions,
) -> tuple[DataFrame, DataFrame, DataFrame, DataFrame, DataFrame, dict[str, float]]:
    """Put the models beside each other: headline scores, averages, recalls, probes, paired differences, a summary."""
    scores = _scores(classification_scores, probe_scores, retrieval_scores)
    answers = _frame(predictions, PREDICTIONS)
    shown = answers[answers["prompt_set"].isin([options.prompt_set, ""])]
    table = tables.benchmark_table(scores, benchmark_tasks, options.prompt_set)
    table = tables.without_copies(table, shown, _frame(contamination, CONTAMINATION))
    averages = tables.domain_averages(table, benchmark_tasks)
    recalls = tables.recall_by_class(scores, options.prompt_set)
    kinds = dict(zip(table["task"], table["samples"], strict=True))
    differences = comparison.compare_predictions(shown, kinds, seed=options.seed)
    leading = models.leading.id
    summary = tables.summary(scores, table, averages, benchmark_tasks, model_id=leading, prompt_set=options.prompt_set)
    return table, averages, recalls, tables.probe_table(scores), differences, summary


@stage(version=1)
def draw_leaderboard(
    benchmark_table: DataFrame,
    domain_averages: DataFrame,
    class_recalls: DataFrame,
    probe_table: DataFrame,
    model_comparison: DataFrame,
    active_tasks: DataFrame,
    published_scores: DataFrame,
    benchmark_tasks: Mapping[str, Task],
) -> tuple[Figure, str, dict[str, str], dict[str, str]]:
    """Draw the leaderboard as a figure and as a page, and write a card a task and the scores for a paper or README."""
    from biomedica_kedro.benchmark.cards import scores_latex, scores_markdown
    from biomedica_kedro.benchmark.leaderboard import leaderboard_figure, leaderboard_page

    page = leaderboard_page(
        benchmark_table,
        {
            "averages": domain_averages, "recalls": class_recalls, "probes": probe_table,
            "comparison": model_comparison, "active": active_tasks, "published": published_scores,
        },
    )  # fmt: skip
    scores = (benchmark_table, domain_averages)
    texts = {"scores.md": scores_markdown(*scores), "scores.tex": scores_latex(*scores)}
    cards = _task_cards(benchmark_table, class_recalls, active_tasks, benchmark_tasks)
    return leaderboard_figure(benchmark_table), page, cards, texts


@stage(version=2)
def draw_diagnostics(
    predictions: BatchFolder,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    models: Models,
    options: ScoreOptions,
) -> tuple[Picture, Picture]:
    """Draw confusion matrices and reliability curves of the leading model."""
    from biomedica_kedro.benchmark.plots import confusion_figure, reliability_figure

    answers = _frame(predictions, PREDICTIONS)
    is_shown = answers["prompt_set"].isin([options.prompt_set, ""])
    leading = answers[is_shown & (answers["model_id"] == models.leading.id)]
    synthetic = dict(zip(active_tasks["task"], active_tasks["synthetic"], strict=True))
    matrices = confusion_figure(leading, benchmark_tasks, synthetic)
    curves = reliability_figure(leading, benchmark_tasks, synthetic)
    for picture in (matrices, curves):
        picture.suptitle(f"model {models.leading.id}")
    return matrices, curves


@stage(version=1)
def publish_benchmark(
    classification_scores: BatchFolder,
    probe_scores: BatchFolder,
    retrieval_scores: BatchFolder,
    contamination: BatchFolder,
    domain_averages: DataFrame,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    leaderboard_page: str,
    task_cards: Mapping[str, Callable[[], str]],
    score_tables: Mapping[str, Callable[[], str]],
    options: ScoreOptions,
) -> list[BenchmarkRun]:
    """Make one run a model for the tracker."""
    texts = {name: load() for name, load in score_tables.items()}
    texts |= {f"cards/{name}.md": load() for name, load in task_cards.items()}
    artifacts = {name: text.encode() for name, text in {"leaderboard.html": leaderboard_page, **texts}.items()}
    copied = {task: contamination.table(task).num_rows for task in contamination.names()}
    return benchmark_runs(
        _scores(classification_scores, probe_scores, retrieval_scores), domain_averages, active_tasks, benchmark_tasks,
        copied=copied, prompt_set=options.prompt_set, artifacts=artifacts,
    )  # fmt: skip


@stage(version=1)
def promote_champion(
    model_comparison: DataFrame, clip_checkpoint: BatchFolder | None, models: Models
) -> PromotionCandidate:
    """Say whom the leading model beats on the same samples."""
    checkpoint = clip_checkpoint or BatchFolder(Path())  # no model is the checkpoint then, or it had not been embedded
    weights = {choice.id: ModelHandle(choice, checkpoint).weights() for choice in models.choices}
    return promotion_candidate(model_comparison, weights, model_id=models.leading.id)


def _task_cards(
    benchmark_table: DataFrame, class_recalls: DataFrame, active_tasks: DataFrame, benchmark_tasks: Mapping[str, Task]
) -> dict[str, str]:
    """A card of each measured task, and an index of them."""
    from biomedica_kedro.benchmark.cards import task_card

    active = active_tasks.set_index("task", drop=False).to_dict("index")
    cards = {
        task: task_card(benchmark_tasks[task], active[task], benchmark_table, class_recalls)
        for task in activation.ready_tasks(active_tasks)
    }
    links = [f"- [{benchmark_tasks[task].title}]({task}.md)" for task in cards]
    index = [f"# Task cards\n\n{len(cards)} of {len(active)} tasks were measured.\n", *links]
    return {"README": "\n".join(index), **cards}


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
