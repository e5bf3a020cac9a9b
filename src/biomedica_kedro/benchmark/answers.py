"""Choosing among options by cosine similarity: the answer of each row, its mean over rows, the table of predictions.

A row whose best similarity is shared by two options is wrong: a constant model scores 0, not the share of class 0.
Shapes: N rows, K options, E dimensions. Source: BIOMEDICA section 5 (closed questions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biomedica_kedro.benchmark import metrics
from biomedica_kedro.benchmark.bootstrap import Interval, mean_interval
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings, Vectors
from biomedica_kedro.benchmark.metrics import Floats, Integers
from biomedica_kedro.benchmark.scores import TIE_TOLERANCE, ScoreOptions, Subject

NO_PREDICTION = -1


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits of every row's options, and the option chosen.

    Attributes:
        labels: the right option.
        predicted: the chosen option, -1 where two are best.
        logits: float64, cosine times the model's logit scale; -inf pads rows with fewer options.
    """

    labels: Integers
    predicted: Integers
    logits: Floats

    @property
    def correct(self) -> Floats:
        """1.0 where the chosen option is the right one."""
        return np.equal(self.labels, self.predicted).astype(np.float64)

    @property
    def confidence(self) -> Floats:
        """Probability of the chosen option."""
        return np.asarray(metrics.softmax(self.logits).max(1))


def choose(similarity_NK: Floats) -> Integers:
    """Best option of each row; -1 where another is as good to within 1e-6."""
    if similarity_NK.shape[1] == 1:
        return np.zeros(len(similarity_NK), dtype=np.int64)
    best_two = np.partition(similarity_NK, -2, axis=1)[:, -2:]
    is_tied = best_two[:, 1] - best_two[:, 0] <= TIE_TOLERANCE
    return np.where(is_tied, NO_PREDICTION, similarity_NK.argmax(1)).astype(np.int64)


def answer(image_NE: Vectors, option_KE: Vectors, label_N: Integers, logit_scale: float) -> Answers:
    """Answer rows that share their options."""
    similarity_NK = (image_NE @ option_KE.T).astype(float)
    return Answers(label_N, choose(similarity_NK), similarity_NK * logit_scale)


def mean_of(value_N: Floats, embedded: TaskEmbeddings, options: ScoreOptions) -> Interval:
    """Mean over rows with its interval, by group where rows are not independent."""
    return mean_interval(
        value_N, group_N=embedded.independent_groups(), n_resamples=options.n_resamples, seed=options.seed
    )


def predictions_of(
    subject: Subject, prompt_set: str, embedded: TaskEmbeddings, answers: Answers, *, correct: Sequence[float] = ()
) -> list[dict[str, object]]:
    """Rows of `classification.PREDICTIONS`.

    Args:
        subject: model and task.
        prompt_set: the words that were used.
        embedded: the rows.
        answers: to them.
        correct: where a row was asked in several wordings, the share of them that was answered rightly.
    """
    right = answers.correct.tolist() if not len(correct) else correct
    columns = zip(
        embedded.sample_ids, embedded.groups, answers.labels, answers.predicted, right, answers.confidence, strict=True
    )
    return [
        {
            "model_id": subject.model_id, "task": subject.task, "prompt_set": prompt_set, "sample_id": sample_id,
            "group_id": group, "label": int(label), "predicted": int(predicted), "correct": float(is_right),
            "confidence": float(confidence),
        }
        for sample_id, group, label, predicted, is_right, confidence in columns
    ]  # fmt: skip
