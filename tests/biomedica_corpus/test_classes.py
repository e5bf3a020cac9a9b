from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedica_corpus.classes import CLASSES
from biomedica_corpus.panel import Panel

IDS = [kind.kind.id for kind in CLASSES]


@pytest.mark.parametrize("kind", CLASSES, ids=IDS)
def test_same_attributes_and_stream_give_the_same_picture(kind: type[Panel]) -> None:
    panel = kind.sample(np.random.default_rng(1))
    pictures = [panel.paint(np.random.default_rng(2), 90, 80).tobytes() for _ in range(2)]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("kind", CLASSES, ids=IDS)
def test_picture_has_the_size_asked_for_and_is_not_empty(kind: type[Panel]) -> None:
    for seed in range(8):
        picture = kind.sample(np.random.default_rng(seed)).paint(np.random.default_rng(seed), 96, 77)
        assert picture.size == (96, 77)
        assert picture.mode == "RGB"
        assert np.asarray(picture).std() > 5


@pytest.mark.parametrize("kind", CLASSES, ids=IDS)
def test_headlines_of_a_class_are_many(kind: type[Panel]) -> None:
    lines = {kind.sample(rng).headline(rng) for rng in map(np.random.default_rng, range(60))}
    assert len(lines) > 45


@given(st.sampled_from(CLASSES), st.integers(0, 2**32 - 1))
def test_words_are_whole_sentences_about_the_class(kind: type[Panel], seed: int) -> None:
    rng = np.random.default_rng(seed)
    panel = kind.sample(rng)
    assert kind.kind.noun.lower() in panel.headline(rng).lower()
    assert not panel.headline(rng).endswith(".")
    assert all(remark.endswith(".") and "{" not in remark for remark in panel.remarks(rng))
    assert panel.subject
    assert "{" not in panel.headline(rng) + panel.subject


def test_class_ids_and_secondary_labels_are_distinct() -> None:
    assert len({kind.kind.id for kind in CLASSES}) == len({kind.kind.secondary for kind in CLASSES}) == 20
