"""Zero-shot scores of tasks whose images may show several findings: each finding is asked for, present or absent.

A threshold of 0.5 on a cosine similarity means nothing, so each finding is a choice between two prompts.
Shapes: N rows, L findings, R resamples. Source: BIOMEDICA appendix (closed questions), CheXpert's 14 observations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark import metrics
from biomedica_kedro.benchmark.bootstrap import Interval, interval_over_rows
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings
from biomedica_kedro.benchmark.metrics import Floats
from biomedica_kedro.benchmark.prompts import option_embeddings, prompt_sets
from biomedica_kedro.benchmark.scores import TIE_TOLERANCE, Protocol, ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Task


def score_multilabel(
    task: Task, embedded: TaskEmbeddings, subject: Subject, options: ScoreOptions
) -> list[dict[str, object]]:
    """Accuracy, balanced accuracy, AUROC and average precision, each the mean over findings, with intervals.

    Args:
        task: a multilabel task.
        embedded: its test samples.
        subject: model, task and data the rows are labeled with.
        options: prompt set and bootstrap.
    Returns:
        Rows of `scores.SCORE_ROWS`, and the AUROC of each finding.
    """
    option_KE = option_embeddings(prompt_sets(task)[options.prompt_set], embedded.texts)
    similarity_NLP = (embedded.images @ option_KE.T).astype(float).reshape(len(embedded), len(task.classes), 2)
    margin_NL = similarity_NLP[:, :, 1] - similarity_NLP[:, :, 0]
    truth_NL = embedded.multilabel.astype(bool)
    correct_NL = ((margin_NL > TIE_TOLERANCE) == truth_NL) & (np.abs(margin_NL) > TIE_TOLERANCE)
    statistics: dict[str, Callable[[Floats], Floats]] = {
        "accuracy": lambda weight: _mean(weight @ correct_NL / weight.sum(1, keepdims=True)),
        "balanced_accuracy": lambda weight: _balanced(correct_NL, truth_NL, weight),
        "auroc": lambda weight: _over_findings(metrics.auroc, margin_NL, truth_NL, weight),
        "average_precision": lambda weight: _over_findings(metrics.average_precision, margin_NL, truth_NL, weight),
    }

    def row(name: str, interval: Interval, detail: str = "") -> dict[str, object]:
        return subject.row(
            name, interval, len(embedded), protocol=Protocol.ZERO_SHOT, prompt_set=options.prompt_set, detail=detail
        )

    rows = [row(name, _interval(statistic, embedded, options)) for name, statistic in statistics.items()]
    for at, cls in enumerate(task.classes):
        rows.append(row("finding_auroc", _finding(margin_NL[:, at], truth_NL[:, at], embedded, options), cls.name))
    return rows


def _finding(
    margin_N: Floats, truth_N: npt.NDArray[np.bool_], embedded: TaskEmbeddings, options: ScoreOptions
) -> Interval:
    return _interval(lambda weight: metrics.auroc(margin_N, truth_N, weight), embedded, options)


def _interval(statistic: Callable[[Floats], Floats], embedded: TaskEmbeddings, options: ScoreOptions) -> Interval:
    return interval_over_rows(
        statistic, len(embedded), group_N=embedded.independent_groups(), n_resamples=options.n_resamples_ranked,
        seed=options.seed,
    )  # fmt: skip


def _balanced(correct_NL: npt.NDArray[np.bool_], truth_NL: npt.NDArray[np.bool_], weight_RN: Floats) -> Floats:
    """Mean over findings of the mean of sensitivity and specificity."""
    sides = []
    for side_NL in (truth_NL, ~truth_NL):
        total_RL = weight_RN @ side_NL
        right_RL = weight_RN @ (side_NL & correct_NL)
        sides.append(metrics.ratio(right_RL, total_RL))
    return _mean(np.mean(sides, axis=0))


def _over_findings(
    metric: metrics.RankMetric, margin_NL: Floats, truth_NL: npt.NDArray[np.bool_], weight_RN: Floats
) -> Floats:
    findings = range(margin_NL.shape[1])
    return _mean(np.stack([metric(margin_NL[:, at], truth_NL[:, at], weight_RN) for at in findings], axis=1))


def _mean(value_RL: Floats) -> Floats:
    """Mean over the findings for which the value is defined; NaN where it is for none."""
    known = ~np.isnan(value_RL)
    return metrics.ratio(np.where(known, value_RL, 0.0).sum(1), known.sum(1).astype(float))
