"""Every score of a model on a task, whatever its kind, from vectors that were computed once."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings
from biomedica_kedro.benchmark.probes import ProbeOptions, probe_rows
from biomedica_kedro.benchmark.retrieval import RetrievalOptions, retrieval_rows
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
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


def score_task(task: Task, embedded: TaskEmbeddings, subject: Subject, options: ScoringOptions) -> tuple[Rows, Rows]:
    """All scores of one model on one task.

    Args:
        task: its kind decides what is measured.
        embedded: its embeddings.
        subject: model, task and data that the rows are labeled with; the seed is that of each part's options.
        options: see `ScoringOptions`.
    Returns:
        Rows of `scores.SCORE_ROWS` and of `classification.PREDICTIONS`; retrieval has none of the latter.
    """
    if task.kind is Kind.RETRIEVAL:
        return retrieval_rows(embedded, replace(subject, seed=options.retrieval.seed), options.retrieval), []
    asked = replace(subject, seed=options.zero_shot.seed)
    rows, predictions = classification_rows(task, embedded, asked, options.zero_shot)
    return rows + probe_rows(task, embedded, replace(subject, seed=options.probes.seed), options.probes), predictions
