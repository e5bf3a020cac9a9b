"""Zero-shot classification from cached embeddings: choose among options by cosine similarity, score, put intervals on.

A row whose best similarity is shared by two options is wrong: a constant model scores 0, not the share of class 0.
Shapes: N rows, K options, E dimensions. Source: BIOMEDICA section 5 (closed questions, accuracy, bootstrap intervals).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biomedica_kedro.benchmark import metrics
from biomedica_kedro.benchmark.answers import Answers, answer, mean_of, predictions_of
from biomedica_kedro.benchmark.bootstrap import Interval, interval_of, interval_over_rows, resample_counts
from biomedica_kedro.benchmark.closed_questions import score_questions, share_correct
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings, Vectors
from biomedica_kedro.benchmark.metrics import Floats, Integers
from biomedica_kedro.benchmark.multilabel import score_multilabel
from biomedica_kedro.benchmark.prompts import ENSEMBLE, option_embeddings, prompt_sets
from biomedica_kedro.benchmark.scores import Protocol, ScoreOptions, Subject, exact
from biomedica_kedro.benchmark.task import Kind, Task

PREDICTIONS = pa.schema(
    [
        ("model_id", pa.string()), ("task", pa.string()), ("prompt_set", pa.string()), ("sample_id", pa.string()),
        ("group_id", pa.string()), ("label", pa.int32()), ("predicted", pa.int32()), ("correct", pa.float32()),
        ("confidence", pa.float32()),
    ]
)  # fmt: skip


def classification_rows(
    task: Task, embedded: TaskEmbeddings, subject: Subject, options: ScoreOptions
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """All zero-shot scores of one model on one classification task, and the predictions they come from.

    Args:
        task: its classes and prompts.
        embedded: its embeddings; only the test split counts.
        subject: model, task and data the rows are labeled with.
        options: prompt set and bootstrap.
    Returns:
        Rows of `scores.SCORE_ROWS` and rows of `PREDICTIONS`.
    """
    test = embedded.part("test")
    if not len(test) or not test.texts:
        return [], []
    if any(test.questions):
        return score_questions(test, subject, options)
    if task.kind is Kind.MULTILABEL:
        return score_multilabel(task, test, subject, options), []
    rows, predictions = [], []
    for name, strings in prompt_sets(task).items():
        option_KE = option_embeddings(strings, test.texts)
        answers = answer(test.images, option_KE, test.labels, test.logit_scale)
        predictions += predictions_of(subject, name, test, answers)
        if name != options.prompt_set:
            accuracy = mean_of(answers.correct, test, options)
            rows.append(subject.row("accuracy", accuracy, len(test), protocol=Protocol.ZERO_SHOT, prompt_set=name))
            continue
        rows += class_scores(task, test, answers, subject, options, protocol=Protocol.ZERO_SHOT, prompt_set=name)
        rows += _baselines(test, option_KE, subject, options)
    rows.append(_prompt_sensitivity(task, test, subject))
    return rows, predictions


def correct_answers(task: Task, embedded: TaskEmbeddings, prompt_set: str) -> Floats:
    """Which rows are answered rightly, N: 1.0 or 0.0, or the share of a row's wordings; without intervals.

    Args:
        task: with classes, or with rows that bring their own options.
        embedded: its rows.
        prompt_set: the words of the classes.
    """
    if any(embedded.questions):
        return share_correct(embedded)
    option_KE = option_embeddings(prompt_sets(task)[prompt_set], embedded.texts)
    return answer(embedded.images, option_KE, embedded.labels, embedded.logit_scale).correct


def class_scores(
    task: Task,
    embedded: TaskEmbeddings,
    answers: Answers,
    subject: Subject,
    options: ScoreOptions,
    *,
    protocol: Protocol,
    prompt_set: str = "",
) -> list[dict[str, object]]:
    """Every metric of a task with classes, with intervals, and recall by class."""
    n_classes, n = len(task.classes), len(embedded)
    groups = embedded.independent_groups()
    cells = metrics.confusion_cells(answers.labels, answers.predicted, n_classes)
    counts = np.bincount(cells, minlength=n_classes * (n_classes + 1)).astype(float)
    drawn = resample_counts(cells, len(counts), group_N=groups, n_resamples=options.n_resamples, seed=options.seed)
    confusion_RKP = np.concatenate([counts[None], drawn]).reshape(-1, n_classes, n_classes + 1)
    counted = {
        "accuracy": metrics.accuracy,
        "balanced_accuracy": metrics.balanced_accuracy,
        "macro_f1": metrics.macro_f1,
    }
    if task.kind is Kind.ORDINAL:
        counted["quadratic_kappa"] = metrics.quadratic_kappa
    scores = {name: _first_and_rest(metric(confusion_RKP)) for name, metric in counted.items()}
    scores |= _ranked(answers, groups, options)
    accuracy = scores["accuracy"]
    if task.chance is not None and task.chance < 1:
        scores["above_chance"] = Interval(
            *(metrics.above_chance(bound, task.chance) for bound in (accuracy.value, accuracy.low, accuracy.high))
        )
    recall_RK = metrics.recalls(confusion_RKP)
    scores["median_class_recall"] = _first_and_rest(np.nanmedian(recall_RK, axis=1))
    rows = [subject.row(name, value, n, protocol=protocol, prompt_set=prompt_set) for name, value in scores.items()]
    for at, cls in enumerate(task.classes):
        size = int(counts.reshape(n_classes, -1)[at].sum())
        if size:
            recall = _first_and_rest(recall_RK[:, at])
            rows.append(subject.row("recall", recall, size, protocol=protocol, prompt_set=prompt_set, detail=cls.name))
    return rows


def _ranked(answers: Answers, groups: npt.NDArray[np.str_] | None, options: ScoreOptions) -> dict[str, Interval]:
    """Metrics that depend on the order or the size of the probabilities."""
    probability_NK, label_N = metrics.softmax(answers.logits), answers.labels
    log_odds_NK = metrics.log_odds(answers.logits)
    statistics: dict[str, Callable[[Floats], Floats]] = {
        "auroc": partial(_macro, metrics.auroc, log_odds_NK, label_N),
        "average_precision": partial(_macro, metrics.average_precision, log_odds_NK, label_N),
        "ece": partial(metrics.expected_calibration_error, probability_NK.max(1), answers.correct),
        "brier": partial(metrics.weighted_mean, metrics.brier_rows(probability_NK, label_N)),
    }
    return {
        name: interval_over_rows(
            statistic, len(label_N), group_N=groups, n_resamples=options.n_resamples_ranked, seed=options.seed
        )
        for name, statistic in statistics.items()
    }


def _macro(metric: metrics.RankMetric, score_NK: Floats, label_N: Integers, weight_RN: Floats) -> Floats:
    """Mean over the classes that occur, each against the rest."""
    values = [metric(score_NK[:, at], label_N == at, weight_RN) for at in np.unique(label_N)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any class: NaN, left out of the interval
        return np.asarray(np.nanmean(values, axis=0))


def _baselines(
    embedded: TaskEmbeddings, option_KE: Vectors, subject: Subject, options: ScoreOptions
) -> list[dict[str, object]]:
    """What the prompts alone prefer (a blank image for every row), and always answering the commonest class."""
    n, label_N = len(embedded), embedded.labels
    blank = answer(np.tile(embedded.blank, (n, 1)), option_KE, label_N, embedded.logit_scale)
    commonest = np.bincount(label_N).argmax()
    return [
        subject.row("accuracy", mean_of(blank.correct, embedded, options), n, protocol=Protocol.BLANK_IMAGE),
        subject.row(
            "accuracy", mean_of((label_N == commonest).astype(float), embedded, options), n, protocol=Protocol.MAJORITY
        ),
    ]


def _prompt_sensitivity(task: Task, embedded: TaskEmbeddings, subject: Subject) -> dict[str, object]:
    """Standard deviation of accuracy over single templates: how much the wording alone moves the score."""
    ensemble = prompt_sets(task)[ENSEMBLE]
    accuracies = []
    for at in range(len(ensemble[0])):
        option_KE = option_embeddings([[strings[at]] for strings in ensemble], embedded.texts)
        answers = answer(embedded.images, option_KE, embedded.labels, embedded.logit_scale)
        accuracies.append(float(answers.correct.mean()))
    spread = exact(float(np.std(accuracies)))
    return subject.row(
        "prompt_sd", spread, len(embedded), protocol=Protocol.ZERO_SHOT, prompt_set=ENSEMBLE,
        detail=f"{len(accuracies)} templates",
    )  # fmt: skip


def _first_and_rest(value_R: Floats) -> Interval:
    return interval_of(float(value_R[0]), value_R[1:])
