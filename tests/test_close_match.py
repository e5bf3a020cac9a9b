from __future__ import annotations

import pytest

from biomedica_kedro.close_match import close_match


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("stepz", ["steps", "seed"], "did you mean 'steps'?"),
        ("vit-b-32", ["ViT-B-32", "RN50"], "did you mean 'ViT-B-32'?"),
        ("color", ["size", "seed"], "there are seed, size"),
        ("color", [], "there are none"),
        ("q", [f"task_{n:02d}" for n in range(45)], "task_18, task_19 and 25 more"),
    ],
    ids=["close", "other case", "none close", "nothing known", "many known"],
)
def test_error_names_what_was_meant_or_what_there_is(name: str, known: list[str], words: str) -> None:
    assert close_match(name, known).endswith(words)
