"""What a class is called: named prompt sets, and class embeddings made of them.

`card` holds the hand-written strings of a class (the paper's where there are none), `paper` the template of the closed
question ("Dermoscopy image showing melanoma."), `ensemble` several templates whose embeddings are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark.task import ClassName, Kind, Task

CARD = "card"
PAPER = "paper"
ENSEMBLE = "ensemble"

PromptSets = Mapping[str, Sequence[Sequence[str]]]


def prompt_sets(task: Task) -> dict[str, list[list[str]]]:
    """Prompts of a task: set -> for each option its strings.

    A multilabel task has two options a class, absent then present. Closed questions and retrieval have none of their
    own: their texts come with the samples.
    """
    if task.kind in (Kind.RETRIEVAL, Kind.CLOSED_VQA):
        return {}
    templates = {**default_templates(task.modality), **task.templates}
    sets = {name: [_filled(cls, list(lines)) for cls in task.classes] for name, lines in templates.items()}
    sets[CARD] = [list(cls.prompts) or sets[PAPER][at] for at, cls in enumerate(task.classes)]
    if task.kind is Kind.MULTILABEL:
        sets = {name: _with_absent(task, present) for name, present in sets.items()}
    return dict(sorted(sets.items()))


def default_templates(modality: str) -> dict[str, tuple[str, ...]]:
    """Templates that name the modality: a chest x-ray is never called a histopathology slide."""
    opening = modality[:1].upper() + modality[1:]
    return {
        PAPER: (f"{opening} showing {{}}.",),
        ENSEMBLE: (
            f"{opening} showing {{}}.",
            f"{opening} of {{}}.",
            f"{{}}, {modality}.",
            f"An example of {{}} in {modality}.",
            f"Representative {modality} demonstrating {{}}.",
        ),
    }


def texts_of(sets: PromptSets) -> list[str]:
    """Every distinct string of the prompt sets, sorted."""
    return sorted({text for options in sets.values() for strings in options for text in strings})


def option_embeddings(
    options: Sequence[Sequence[str]], text_embeddings: Mapping[str, npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """One L2-normalised vector an option, K x E: the mean of its strings' normalised embeddings."""
    means = np.stack([np.mean([text_embeddings[text] for text in strings], axis=0) for strings in options])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)


def _filled(cls: ClassName, templates: list[str]) -> list[str]:
    strings = [template.replace("{}", cls.words) for template in templates]
    return [string[:1].upper() + string[1:] for string in strings]


def _with_absent(task: Task, present: list[list[str]]) -> list[list[str]]:
    opening = task.modality[:1].upper() + task.modality[1:]
    pairs: list[list[str]] = []
    for cls, strings in zip(task.classes, present, strict=True):
        pairs += [[cls.negative or f"{opening} without {cls.words}."], strings]
    return pairs
