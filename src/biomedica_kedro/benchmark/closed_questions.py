"""Zero-shot scores of samples that bring their own options, in every wording they are asked in.

The protocol of models that embed is `captions`: the nearest caption is the answer. Its wordings are scored each, and a
row's result is the share of them it got right; the mean of that is the task's accuracy. Other protocols (u-Bench's
`questions`, meant for generative models) stand beside it under their own name and never enter that mean.
Shapes: N rows, K options, T texts, E dimensions. Source: u-Bench (arXiv 2407.01791), BIOMEDICA section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark import metrics
from biomedica_kedro.benchmark.answers import Answers, choose, mean_of, predictions_of
from biomedica_kedro.benchmark.bootstrap import Interval
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings, Vectors
from biomedica_kedro.benchmark.metrics import Floats
from biomedica_kedro.benchmark.samples import CAPTIONS, Question
from biomedica_kedro.benchmark.scores import Protocol, ScoreOptions, Subject, exact

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class _Asked:
    """One wording put to the rows that are asked it."""

    rows: npt.NDArray[np.intp]
    questions: Sequence[Question]
    answers: Answers


def score_questions(
    embedded: TaskEmbeddings, subject: Subject, options: ScoreOptions
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Accuracy of each protocol and of each of its wordings, what guessing gives, what a blank image answers.

    Args:
        embedded: test samples, each with its questions.
        subject: model, task and data the rows are labeled with.
        options: of the bootstrap.
    Returns:
        Rows of `scores.SCORE_ROWS` and of `classification.PREDICTIONS`. The prompt set of the captions is empty, that
        of another protocol its name, and that of one wording "captions_0".
    """
    asked: dict[str, dict[int, _Asked]] = {}
    for protocol, wording in sorted({(each.protocol, each.wording) for row in embedded.questions for each in row}):
        asked.setdefault(protocol, {})[wording] = _ask(embedded, protocol, wording)
    rows: list[dict[str, object]] = []
    predictions: list[dict[str, object]] = []
    for protocol, wordings in asked.items():
        name = "" if protocol == CAPTIONS else protocol
        rows += _protocol_scores(embedded, wordings, name, subject, options)
        predictions += _predictions(embedded, wordings, name, subject)
        for wording, one in wordings.items() if len(wordings) > 1 else ():
            part = embedded.take(one.rows)
            set_name = f"{protocol}_{wording}"
            accuracy = mean_of(one.answers.correct, part, options)
            rows.append(subject.row("accuracy", accuracy, len(part), protocol=Protocol.ZERO_SHOT, prompt_set=set_name))
            predictions += predictions_of(subject, set_name, part, one.answers)
    return rows, predictions


def share_correct(embedded: TaskEmbeddings) -> Floats:
    """Share of its wordings, as captions, that each row answers rightly, N.

    Args:
        embedded: rows of which each is asked in captions.
    """
    wordings = sorted({each.wording for row in embedded.questions for each in row if each.protocol == CAPTIONS})
    asked = {wording: _ask(embedded, CAPTIONS, wording) for wording in wordings}
    return _share_right(asked, lambda one: one.answers.correct)


def _protocol_scores(
    embedded: TaskEmbeddings, wordings: Mapping[int, _Asked], name: str, subject: Subject, options: ScoreOptions
) -> Iterator[dict[str, object]]:
    """Of all wordings of one protocol together."""
    part = embedded.take(_rows_of(wordings))
    n, detail = len(part), f"mean of {len(wordings)} wordings" if len(wordings) > 1 else ""
    accuracy = mean_of(_share_right(wordings, lambda one: one.answers.correct), part, options)
    chance = float(_share_right(wordings, _chance_of).mean())
    blank = {at: _ask(_with_blank(embedded), one.questions[0].protocol, at) for at, one in wordings.items()}
    blank_accuracy = mean_of(_share_right(blank, lambda one: one.answers.correct), part, options)
    above = (metrics.above_chance(bound, chance) for bound in (accuracy.value, accuracy.low, accuracy.high))
    named: list[tuple[str, Interval, Protocol]] = [
        ("accuracy", accuracy, Protocol.ZERO_SHOT),
        ("chance", exact(chance), Protocol.ZERO_SHOT),
        ("above_chance", Interval(*above), Protocol.ZERO_SHOT),
        ("accuracy", blank_accuracy, Protocol.BLANK_IMAGE),
    ]
    for metric, value, protocol in named:
        yield subject.row(metric, value, n, protocol=protocol, prompt_set=name, detail=detail)


def _predictions(
    embedded: TaskEmbeddings, wordings: Mapping[int, _Asked], name: str, subject: Subject
) -> list[dict[str, object]]:
    """A row a sample: the answer to its first wording, and the share of wordings answered rightly."""
    first: dict[int, tuple[_Asked, int]] = {}
    for one in wordings.values():
        for at, row in enumerate(one.rows.tolist()):
            first.setdefault(row, (one, at))
    rows = _rows_of(wordings)
    found = [first[row] for row in rows.tolist()]
    width = max(one.answers.logits.shape[1] for one in wordings.values())
    logit_NK = np.full((len(rows), width), -np.inf)
    for at, (one, place) in enumerate(found):
        logit_NK[at, : one.answers.logits.shape[1]] = one.answers.logits[place]
    answers = Answers(
        np.array([one.answers.labels[place] for one, place in found], dtype=np.int64),
        np.array([one.answers.predicted[place] for one, place in found], dtype=np.int64),
        logit_NK,
    )
    share = _share_right(wordings, lambda one: one.answers.correct).tolist()
    return predictions_of(subject, name, embedded.take(rows), answers, correct=share)


def _ask(embedded: TaskEmbeddings, protocol: str, wording: int) -> _Asked:
    """Answers of the rows that have this wording."""
    found = [
        (at, question)
        for at, row in enumerate(embedded.questions)
        for question in row
        if (question.protocol, question.wording) == (protocol, wording)
    ]
    rows, questions = np.array([at for at, _ in found], dtype=np.intp), [question for _, question in found]
    similarity_NK = _similarities(embedded.images[rows], questions, embedded.texts)
    label_N = np.array([question.answer_idx for question in questions], dtype=np.int64)
    return _Asked(rows, questions, Answers(label_N, choose(similarity_NK), similarity_NK * embedded.logit_scale))


def _similarities(image_NE: Vectors, questions: Sequence[Question], texts: Mapping[str, Vectors]) -> Floats:
    """N x K; -inf where a row has fewer options. Each distinct text is multiplied once a block of rows."""
    widest = max((len(question.options) for question in questions), default=2)
    similarity_NK = np.full((len(questions), widest), -np.inf)
    for start in range(0, len(questions), _ROWS_AT_ONCE):
        block = questions[start : start + _ROWS_AT_ONCE]
        column = {text: at for at, text in enumerate(dict.fromkeys(text for each in block for text in each.options))}
        similarity_BT = image_NE[start : start + len(block)] @ np.stack([texts[text] for text in column]).T
        for at, question in enumerate(block):
            places = [column[text] for text in question.options]
            similarity_NK[start + at, : len(places)] = similarity_BT[at, places]
    return similarity_NK


def _rows_of(wordings: Mapping[int, _Asked]) -> npt.NDArray[np.intp]:
    return np.asarray(np.unique(np.concatenate([one.rows for one in wordings.values()])))


def _share_right(wordings: Mapping[int, _Asked], value: Callable[[_Asked], Floats]) -> Floats:
    """Mean of a value over the wordings of each row, in the order of `_rows_of`."""
    rows = _rows_of(wordings)
    total_N, count_N = np.zeros(len(rows)), np.zeros(len(rows))
    for one in wordings.values():
        place = np.searchsorted(rows, one.rows)
        total_N[place] += value(one)
        count_N[place] += 1
    return np.asarray(total_N / count_N)


def _chance_of(one: _Asked) -> Floats:
    return np.array([1 / len(question.options) for question in one.questions])


def _with_blank(embedded: TaskEmbeddings) -> TaskEmbeddings:
    return replace(embedded, images=np.broadcast_to(embedded.blank, embedded.images.shape))
