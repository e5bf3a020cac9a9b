from __future__ import annotations

import numpy as np
import pytest

from biomedica_kedro.benchmark.prompts import option_embeddings, prompt_sets
from biomedica_kedro.benchmark.task import Kind, Task


def test_templates_name_the_modality_of_the_task(color_task: Task) -> None:
    assert prompt_sets(color_task)["paper"] == [
        ["Swatch showing red."],
        ["Swatch showing green."],
        ["Swatch showing blue."],
    ]


def test_card_prompts_replace_the_template(color_task: Task) -> None:
    red, *others = color_task.classes
    classes = (red.model_copy(update={"prompts": ("A red swatch.", "Red paint.")}), *others)
    sets = prompt_sets(color_task.model_copy(update={"classes": classes}))
    assert sets["card"][0] == ["A red swatch.", "Red paint."]
    assert sets["card"][1] == sets["paper"][1]


def test_multilabel_classes_are_absent_or_present(color_task: Task) -> None:
    sets = prompt_sets(color_task.model_copy(update={"kind": Kind.MULTILABEL}))
    assert sets["paper"][:2] == [["Swatch without red."], ["Swatch showing red."]]


def test_option_embedding_is_the_normalised_mean_of_its_strings() -> None:
    texts = {"a": np.array([1.0, 0.0], np.float32), "b": np.array([0.0, 1.0], np.float32)}
    assert option_embeddings([["a", "b"], ["a"]], texts)[0] == pytest.approx([2**-0.5] * 2)
