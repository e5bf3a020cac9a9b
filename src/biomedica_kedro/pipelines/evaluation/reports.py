"""What the benchmark came to: tables, the leaderboard, runs for the tracker, the champion; and the page of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from biomedica_kedro.benchmark import activation, comparison, tables
from biomedica_kedro.benchmark.activation import ActivationOptions
from biomedica_kedro.benchmark.classification import PREDICTIONS
from biomedica_kedro.benchmark.contamination import CONTAMINATION
from biomedica_kedro.benchmark.models import Models
from biomedica_kedro.benchmark.promotion import PromotionCandidate, promotion_candidate
from biomedica_kedro.benchmark.publication import BenchmarkRun, benchmark_runs
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import SCORE_ROWS
from biomedica_kedro.benchmark.scoring import ScoringOptions
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.pipelines.evaluation.models import find_models
from biomedica_kedro.stages import BatchFolder, IncompleteError
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture
    from pandas import DataFrame
    from plotly.graph_objects import Figure


_NO_CHECKPOINT = BatchFolder(Path())  # no model is the checkpoint where there is none, or it had not been embedded


@stage(version=2)
def list_active_tasks(
    benchmark_tasks: Mapping[str, Task], benchmark_samples: SampleStore, options: ActivationOptions
) -> DataFrame:
    """List which tasks have samples."""
    return activation.active_tasks(benchmark_tasks, benchmark_samples, options)


@stage(version=2)
def compare_models(
    benchmark_scores: BatchFolder,
    predictions: BatchFolder,
    contamination: BatchFolder,
    benchmark_tasks: Mapping[str, Task],
    clip_checkpoint: BatchFolder | None,
    models: Models,
    options: ScoringOptions,
) -> tuple[DataFrame, DataFrame, DataFrame, dict[str, Any], Picture]:
    """Put the models beside each other: headline scores, averages, paired differences, and where the leading one errs.

    benchmark_summary holds the few numbers the run ends with, those of the tables, and why models are missing.
    model_errors are those of the leading model.
    """
    from biomedica_kedro.benchmark.plots import errors_figure

    shown_set = options.zero_shot.prompt_set
    scores, answers = _frame(benchmark_scores, SCORE_ROWS), _frame(predictions, PREDICTIONS)
    shown = answers[answers["prompt_set"].isin([shown_set, ""])]
    table = tables.benchmark_table(scores, benchmark_tasks, shown_set)
    table = tables.without_copies(table, shown, _frame(contamination, CONTAMINATION), contamination.names())
    averages = tables.domain_averages(table, benchmark_tasks)
    kinds = dict(zip(table["task"], table["samples"], strict=True))
    differences = comparison.compare_predictions(shown, kinds, seed=options.zero_shot.seed)
    leading = models.leading.id
    summary = {
        "scores": tables.summary(table, averages, benchmark_tasks),
        "left_out": find_models(models, clip_checkpoint or _NO_CHECKPOINT)[1],
    }
    errors = errors_figure(shown[shown["model_id"] == leading], benchmark_tasks, kinds, leading)
    return table, averages, differences, summary, errors


@stage(version=2)
def draw_leaderboard(
    benchmark_scores: BatchFolder,
    benchmark_table: DataFrame,
    domain_averages: DataFrame,
    model_comparison: DataFrame,
    benchmark_summary: Mapping[str, Any],
    active_tasks: DataFrame,
    published_scores: DataFrame,
    benchmark_tasks: Mapping[str, Task],
) -> tuple[Figure, dict[str, str]]:
    """Draw the leaderboard as a figure and as a page, and write a card a task and the scores for a paper or README."""
    from biomedica_kedro.benchmark.cards import scores_latex, scores_markdown, task_cards
    from biomedica_kedro.benchmark.leaderboard import leaderboard_figure, leaderboard_page

    scores = _frame(benchmark_scores, SCORE_ROWS)
    recalls = tables.recall_by_class(scores, benchmark_table)
    page = leaderboard_page(
        benchmark_table,
        {
            "averages": domain_averages, "recalls": recalls, "probes": tables.probe_table(scores),
            "robustness": tables.robustness_table(scores), "lengths": tables.lengths_table(scores),
            "comparison": model_comparison, "active": active_tasks, "published": published_scores,
        },
        benchmark_summary["left_out"],
    )  # fmt: skip
    cards = task_cards(benchmark_tasks, active_tasks, benchmark_table, recalls)
    pages = {
        "leaderboard.html": page,
        "scores.md": scores_markdown(benchmark_table, domain_averages),
        "scores.tex": scores_latex(benchmark_table, domain_averages),
        **{f"cards/{name}.md": card for name, card in cards.items()},
    }
    return leaderboard_figure(benchmark_table), pages


@stage(version=2)
def publish_benchmark(
    benchmark_scores: BatchFolder,
    benchmark_table: DataFrame,
    active_tasks: DataFrame,
    benchmark_tasks: Mapping[str, Task],
    benchmark_pages: Mapping[str, Callable[[], str]],
    clip_checkpoint: BatchFolder | None,
    models: Models,
    options: ScoringOptions,
) -> list[BenchmarkRun]:
    """Make one run a model for the tracker."""
    scores = _frame(benchmark_scores, SCORE_ROWS)
    found, _ = find_models(models, clip_checkpoint or _NO_CHECKPOINT, set(scores["model_id"]))
    return benchmark_runs(
        scores, benchmark_table, active_tasks, benchmark_tasks,
        described={model_id: handle.facts() for model_id, handle in found.items()},
        prompt_set=options.zero_shot.prompt_set,
        artifacts={name: load().encode() for name, load in benchmark_pages.items()},
    )  # fmt: skip


@stage(version=1)
def promote_champion(
    model_comparison: DataFrame, clip_checkpoint: BatchFolder | None, models: Models
) -> PromotionCandidate:
    """Say whom the leading model beats on the same samples."""
    compared = {models.leading.id, *model_comparison["model_a"], *model_comparison["model_b"]}
    found, _ = find_models(models, clip_checkpoint or _NO_CHECKPOINT, compared)
    weights = {model_id: handle.weights() for model_id, handle in found.items()}
    return promotion_candidate(model_comparison, weights, model_id=models.leading.id)


@stage(version=1)
def write_report(
    run_summary: Mapping[str, Any],
    cluster_labels: BatchFolder | None,
    training_counts: BatchFolder | None,
    training_history: BatchFolder | None,
    benchmark_table: DataFrame,
    contact_sheet: bytes | None,
    sample_contact_sheet: bytes | None,
    model_errors: bytes,
) -> str:
    """Write the page of a run: funnel, licenses, rejects, clusters, samples, training and scores in one file."""
    from biomedica_kedro.report import sections
    from biomedica_kedro.report.page import report_page

    clusters, counts, history = (
        None if folder is None else folder.table() for folder in (cluster_labels, training_counts, training_history)
    )
    return report_page(
        "Biomedica: what a run came to",
        [
            sections.flow_section(run_summary),
            sections.license_section(run_summary),
            sections.reject_section(run_summary),
            sections.cluster_section(clusters, contact_sheet),
            sections.sample_section(sample_contact_sheet),
            sections.training_section(counts, history),
            sections.score_section(benchmark_table, model_errors),
        ],
    )


def _frame(folder: BatchFolder, schema: pa.Schema) -> DataFrame:
    try:
        table = folder.table()
    except IncompleteError:
        if not folder.is_complete():
            raise
        table = schema.empty_table()
    frame: DataFrame = table.to_pandas()
    return frame
