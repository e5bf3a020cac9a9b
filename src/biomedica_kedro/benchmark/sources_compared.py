"""Two sources of one task, row by row: are they the same images, asked the same, with the same answers?

Rows meet by the pixels of their images, since copies are encoded anew; what is left meets by the last part of its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from biomedica_kedro.benchmark.samples import CAPTIONS, Answer, TaskSamples, check_answer
from biomedica_kedro.benchmark.task import Task
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.records import DataError

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Row:
    sample_id: str
    pixels: str
    answer: Answer


@dataclass(slots=True)
class SourceDifference:
    """How the rows of a task differ between two sources.

    Attributes:
        task_id: of the task.
        n_first, n_second: usable rows of each source.
        n_both: rows that are in both.
        other_answers: of these, rows whose answers contradict each other.
        other_options: of these, rows that both ask with options of their own, but not with the same ones.
        not_compared: of these, rows whose answers are said in words that cannot be compared.
        examples: some of the contradictions.
    """

    task_id: str
    n_first: int = 0
    n_second: int = 0
    n_both: int = 0
    other_answers: int = 0
    other_options: int = 0
    not_compared: int = 0
    examples: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line for a report."""
        counts = (
            f"{self.task_id}: {self.n_both} rows in both, {self.n_first - self.n_both} only in the first source, "
            f"{self.n_second - self.n_both} only in the second; {self.other_answers} with another answer, "
            f"{self.other_options} with other options, {self.not_compared} not comparable"
        )
        return counts + "".join(f"\n  {example}" for example in self.examples)


def compare_sources(task: Task, first: TaskSamples, second: TaskSamples) -> SourceDifference:
    """Compare two sources of a task.

    Args:
        task: what the rows of both are checked against.
        first: e.g. the samples made from the original data.
        second: e.g. those of the released evaluation set.
    """
    left, right = list(_rows(task, first)), list(_rows(task, second))
    difference = SourceDifference(task.id, len(left), len(right))
    for one, other in _pairs(left, right):
        difference.n_both += 1
        difference.other_options += _other_options(one.answer, other.answer)
        answers = _texts(task, one.answer), _texts(task, other.answer)
        agrees = _agree(task, one.answer, other.answer)
        if agrees is None:
            difference.not_compared += 1
        elif not agrees:
            difference.other_answers += 1
            if len(difference.examples) < _SHOWN:
                difference.examples.append(f"{one.sample_id} is {answers[0]}; {other.sample_id} is {answers[1]}")
    return difference


def _rows(task: Task, samples: TaskSamples) -> Iterator[_Row]:
    for rows in samples.rows():
        for row in rows:
            try:
                answer, pixels = check_answer(row, task), read_pixels(row["image"], ANY_SIZE)
            except DataError:
                continue  # `validate` lists what cannot be used
            digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
            yield _Row(str(row["sample_id"]), digest, answer)


def _pairs(left: list[_Row], right: list[_Row]) -> Iterator[tuple[_Row, _Row]]:
    """Each row of one side with at most one of the other."""
    taken: set[int] = set()
    unmatched = left
    for key in (lambda row: row.pixels, lambda row: row.sample_id.rpartition("/")[2]):
        places: dict[str, list[int]] = {}
        for at, row in enumerate(right):
            if at not in taken:
                places.setdefault(key(row), []).append(at)
        rest = []
        for row in unmatched:
            waiting = places.get(key(row))
            if waiting:
                at = waiting.pop(0)
                taken.add(at)
                yield row, right[at]
            else:
                rest.append(row)
        unmatched = rest


def _other_options(one: Answer, other: Answer) -> bool:
    """Whether both bring captions, and no wording of one has the options of a wording of the other."""
    sides = [
        {frozenset(question.options) for question in answer.questions if question.protocol == CAPTIONS}
        for answer in (one, other)
    ]
    return all(sides) and not sides[0] & sides[1]


def _agree(task: Task, one: Answer, other: Answer) -> bool | None:
    """Whether two answers are the same; None where they have no words in common to tell."""
    names = [_class_of(task, answer) for answer in (one, other)]
    if names[0] and names[1]:
        return names[0] == names[1]
    texts = [
        {question.options[question.answer_idx].casefold() for question in answer.questions} for answer in (one, other)
    ]
    if texts[0] & texts[1]:
        return True
    return None if not all(texts) or _other_options(one, other) else False


def _class_of(task: Task, answer: Answer) -> str:
    """The class an answer stands for, by the task's own name where it has classes."""
    if 0 <= answer.label < len(task.classes):
        return task.classes[answer.label].name.casefold()
    position = task.label_index().get(answer.label_name.casefold())
    return task.classes[position].name.casefold() if position is not None else answer.label_name.casefold()


def _texts(task: Task, answer: Answer) -> str:
    said = [question.options[question.answer_idx] for question in answer.questions if question.protocol == CAPTIONS]
    return repr(_class_of(task, answer) or (said[0] if said else ""))
