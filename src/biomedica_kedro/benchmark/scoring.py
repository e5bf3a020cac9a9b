"""Every score of a model on a task, whatever its kind, from vectors that were computed once."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.benchmark.classification import classification_rows, correct_answers
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings
from biomedica_kedro.benchmark.multilabel import score_multilabel
from biomedica_kedro.benchmark.probes import ProbeOptions, probe_rows
from biomedica_kedro.benchmark.prompts import CARD
from biomedica_kedro.benchmark.retrieval import RetrievalOptions, retrieval_rows
from biomedica_kedro.benchmark.robustness import robustness_rows
from biomedica_kedro.benchmark.samples import TEST
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.tables import HEADLINE
from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.records import Options

Rows = list[dict[str, object]]


class ScoringOptions(Options):
    """How tasks are scored.

    Attributes:
        zero_shot: of classes and of closed questions.
        probes: fitted on labels.
        retrieval: of image-caption pairs.
    """

    zero_shot: ScoreOptions = Field(default_factory=ScoreOptions)
    probes: ProbeOptions = Field(default_factory=ProbeOptions)
    retrieval: RetrievalOptions = Field(default_factory=RetrievalOptions)


def headline_score(task: Task, embedded: TaskEmbeddings, prompt_set: str = CARD) -> list[tuple[str, float]]:
    """Metric and value that a task is known by, without an interval; nothing where there is nothing to score."""
    test = embedded.part(TEST)
    if not len(test) or not test.texts:
        return []
    subject = Subject(model_id="", task=task.id, domain=task.domain, synthetic=False, dataset_digest="", seed=0)
    if task.kind is Kind.RETRIEVAL:
        rows = retrieval_rows(test, subject, RetrievalOptions(n_resamples=100))
    elif task.kind is Kind.MULTILABEL and not any(test.questions):
        rows = score_multilabel(task, test, subject, ScoreOptions(n_resamples=100, n_resamples_ranked=50))
    else:
        return [("accuracy", float(correct_answers(task, test, prompt_set).mean()))]
    wanted = HEADLINE[task.kind]
    return [(wanted, float(str(row["value"]))) for row in rows if row["metric"] == wanted and not row["detail"]][:1]


def score_task(
    task: Task, embedded: TaskEmbeddings, subject: Subject, options: ScoringOptions, corrupted: pa.Table | None = None
) -> tuple[Rows, Rows]:
    """All scores of one model on one task.

    Args:
        task: its kind decides what is measured.
        embedded: its embeddings.
        subject: model, task and data that the rows are labeled with; the seed is that of each part's options.
        options: see `ScoringOptions`.
        corrupted: its images under corruptions, where they were embedded.
    Returns:
        Rows of `scores.SCORE_ROWS` and of `classification.PREDICTIONS`; retrieval has none of the latter.
    """
    if task.kind is Kind.RETRIEVAL:
        return retrieval_rows(embedded, replace(subject, seed=options.retrieval.seed), options.retrieval), []
    asked = replace(subject, seed=options.zero_shot.seed)
    rows, predictions = classification_rows(task, embedded, asked, options.zero_shot)
    rows += probe_rows(task, embedded, replace(subject, seed=options.probes.seed), options.probes)
    if corrupted is not None:
        rows += robustness_rows(task, embedded, corrupted, asked, options.zero_shot)
    return rows, predictions
