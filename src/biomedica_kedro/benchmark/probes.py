"""What a model's image vectors hold beyond its prompts: linear probe, nearest neighbors, a few labeled examples.

Everything runs from cached embeddings. Where a task has a train split, that is fitted; else predictions come from folds
that never share a group (patient, slide, article). Shapes: N rows, E dimensions, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from biomedica_kedro.benchmark.answers import Answers, choose
from biomedica_kedro.benchmark.bootstrap import Interval
from biomedica_kedro.benchmark.classification import class_scores
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings, Vectors
from biomedica_kedro.benchmark.metrics import Floats, Integers
from biomedica_kedro.benchmark.scores import DRAW, Protocol, ScoreOptions, Subject, exact
from biomedica_kedro.benchmark.task import ClassName, Kind, Task
from biomedica_kedro.records import Options

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

PROBED = (Kind.BINARY, Kind.MULTICLASS, Kind.ORDINAL)
_NEVER = -1e4  # logit of a class the fit has not seen
_TEMPERATURE = 0.07

Rows = npt.NDArray[np.intp]


class ProbeOptions(Options):
    """How probes are fitted.

    Attributes:
        folds: outer folds where a task has no train split; the penalty is chosen inside the fitted part only.
        penalties: inverse strengths of the logistic regression to choose from.
        neighbors: of the k-nearest-neighbor vote.
        shots: labeled examples a class.
        repeats: draws of the examples.
        seed: of folds and draws.
        n_resamples: of the bootstrap, for metrics of counts.
        n_resamples_ranked: of the bootstrap, for metrics that need every row.
    """

    folds: int = Field(default=5, ge=2)
    penalties: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    neighbors: int = Field(default=20, ge=1)
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    repeats: int = Field(default=5, ge=2)
    seed: int = 0
    n_resamples: int = Field(default=2000, ge=100)
    n_resamples_ranked: int = Field(default=100, ge=50)

    def scoring(self) -> ScoreOptions:
        """The bootstrap's part."""
        return ScoreOptions(n_resamples=self.n_resamples, n_resamples_ranked=self.n_resamples_ranked, seed=self.seed)


def probe_rows(
    task: Task, embedded: TaskEmbeddings, subject: Subject, options: ProbeOptions
) -> list[dict[str, object]]:
    """Scores of the linear probe, the neighbors and the few-shot probes on one task.

    Args:
        task: a task whose samples have one class each; others give no rows.
        embedded: its embeddings, both splits.
        subject: model, task and data the rows are labeled with.
        options: how to fit.
    """
    task, embedded = _with_classes(task, embedded)
    if task.kind not in PROBED or len(task.classes) < 2 or len(np.unique(embedded.labels)) < 2:
        return []
    parts = list(_parts(embedded, options))
    tested = np.concatenate([test for _, test in parts])
    test = embedded.take(tested)
    rows: list[dict[str, object]] = []
    for protocol in (Protocol.LINEAR_PROBE, Protocol.NEAREST_NEIGHBORS):
        logit_NK = np.concatenate([_logits(embedded, fitted, rest, protocol, task, options) for fitted, rest in parts])
        answers = Answers(test.labels, choose(logit_NK), logit_NK)
        rows += class_scores(task, test, answers, subject, options.scoring(), protocol=protocol)
    fitted, rest = parts[0]
    return rows + list(_few_shot(task, embedded, fitted, rest, subject, options))


def _with_classes(task: Task, embedded: TaskEmbeddings) -> tuple[Task, TaskEmbeddings]:
    """A task whose samples bring their options has the classes that its rows name, sorted; rows without one are out."""
    if not any(embedded.questions):
        return task, embedded
    named = embedded.take(np.flatnonzero([bool(name) for name in embedded.label_names]))
    names = sorted(set(named.label_names))
    labels = np.array([names.index(name) for name in named.label_names], dtype=np.int64)
    classes = tuple(ClassName(name=name) for name in names)
    return task.model_copy(update={"kind": Kind.MULTICLASS, "classes": classes}), replace(named, labels=labels)


def _parts(embedded: TaskEmbeddings, options: ProbeOptions) -> Iterator[tuple[Rows, Rows]]:
    """Rows to fit and rows to test: the task's own split, or folds that keep groups together."""
    train, test = (np.flatnonzero(embedded.splits == split) for split in ("train", "test"))
    if len(train):
        yield train, test
        return
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups, labels = embedded.independent_groups(), embedded.labels
    n_units = len(labels) if groups is None else len(np.unique(groups))
    folds = min(options.folds, int(np.bincount(labels).max()), n_units)
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer rows than folds
        yield from splitter(folds, shuffle=True, random_state=options.seed).split(embedded.images, labels, groups)


def _logits(
    embedded: TaskEmbeddings, fitted: Rows, rest: Rows, protocol: Protocol, task: Task, options: ProbeOptions
) -> Floats:
    images, labels, k = embedded.images, embedded.labels, len(task.classes)
    if protocol is Protocol.NEAREST_NEIGHBORS:
        return _neighbor_logits(images[fitted], labels[fitted], images[rest], k, options.neighbors)
    groups = embedded.independent_groups()
    own = None if groups is None else groups[fitted]
    return _probe_logits(images[fitted], labels[fitted], images[rest], k, options, own)


def _probe_logits(
    fit_NE: Vectors, fit_N: Integers, test_NE: Vectors, n_classes: int, options: ProbeOptions,
    group_N: npt.NDArray[np.str_] | None = None,
) -> Floats:  # fmt: skip
    """Logistic regression; the penalty is chosen by folds of the fitted part, which keep groups together."""
    from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
    from threadpoolctl import threadpool_limits

    known, counts = np.unique(fit_N, return_counts=True)
    if len(known) < 2:
        return _spread(np.ones((len(test_NE), 1)), known, n_classes)
    probe: BaseEstimator = _logistic(options.penalties[0])
    # Products of matrices this small wait for BLAS's threads longer than they take: 95 s for 8 s beside others.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FitFailedWarning)  # folds of a few rows that lack a class
        warnings.simplefilter("ignore", UserWarning)
        n_units = len(fit_N) if group_N is None else len(np.unique(group_N))
        if len(options.penalties) > 1 and min(n_units, counts.max()) >= 3:
            grid = {"logisticregression__C": list(options.penalties)}
            splitter = StratifiedKFold(3) if group_N is None else StratifiedGroupKFold(3)
            splits = list(splitter.split(fit_NE, fit_N, group_N))
            probe = GridSearchCV(probe, grid, scoring="balanced_accuracy", cv=splits)
        probe.fit(fit_NE, fit_N)
    probability_NM = probe.predict_proba(test_NE).astype(np.float64)
    return _spread(np.log(np.maximum(probability_NM, 1e-300)), known, n_classes)


def _logistic(penalty: float) -> BaseEstimator:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=500, class_weight="balanced"))


def _neighbor_logits(fit_NE: Vectors, fit_N: Integers, test_NE: Vectors, n_classes: int, neighbors: int) -> Floats:
    """Votes of the nearest rows, weighted by similarity."""
    similarity_NM = test_NE @ fit_NE.T
    k = min(neighbors, len(fit_N))
    nearest = np.argpartition(-similarity_NM, k - 1, axis=1)[:, :k]
    weight_Nk = np.exp((np.take_along_axis(similarity_NM, nearest, axis=1) - 1) / _TEMPERATURE)
    votes = np.stack([(weight_Nk * (fit_N[nearest] == at)).sum(1) for at in range(n_classes)], axis=1)
    return np.asarray(np.log(votes + 1e-12), dtype=np.float64)


def _few_shot(
    task: Task, embedded: TaskEmbeddings, fitted: Rows, rest: Rows, subject: Subject, options: ProbeOptions
) -> Iterator[dict[str, object]]:
    """Accuracy of a probe on k examples a class: of each draw, and their mean with a 95 % t interval over them."""
    from scipy import stats

    labels = embedded.labels
    smallest = min(int((labels[fitted] == at).sum()) for at in np.unique(labels))
    for shots in (shots for shots in options.shots if shots <= smallest):
        accuracies = []
        for repeat in range(options.repeats):
            rng = np.random.default_rng([options.seed, shots, repeat])
            chosen = np.concatenate([rng.permutation(fitted[labels[fitted] == at])[:shots] for at in np.unique(labels)])
            single = options.model_copy(update={"penalties": (0.1,)})
            logit_NK = _probe_logits(
                embedded.images[chosen], labels[chosen], embedded.images[rest], len(task.classes), single
            )
            accuracies.append(float((choose(logit_NK) == labels[rest]).mean()))
        mean, spread = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
        half = float(stats.t.ppf(0.975, options.repeats - 1)) * spread / options.repeats**0.5
        interval = Interval(mean, max(0.0, mean - half), min(1.0, mean + half))
        row, detail = partial(subject.row, n=len(rest), protocol=Protocol.FEW_SHOT), f"k{shots}"
        yield row("accuracy", interval, detail=detail)
        for repeat, accuracy in enumerate(accuracies):
            yield {**row(DRAW, exact(accuracy), detail=detail), "seed": repeat}


def _spread(log_probability_NM: Floats, known: Integers, n_classes: int) -> Floats:
    """Logits over all classes; those the fit has not seen are never chosen."""
    logit_NK = np.full((len(log_probability_NM), n_classes), _NEVER)
    logit_NK[:, known] = np.maximum(log_probability_NM, _NEVER / 2)
    return logit_NK
