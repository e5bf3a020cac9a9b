from __future__ import annotations

import numpy as np
import pytest

from biomedica_corpus.synthetic_benchmark.released.tiles import tile
from biomedica_kedro.benchmark.corruptions import SIDE, corrupt, corruptions_of, sized
from biomedica_kedro.benchmark.task import load_tasks

SETS = sorted(name for name in load_tasks() if name.endswith("mnist"))
KINDS = {kind: strengths for name in SETS for kind, strengths in corruptions_of(name).items()}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_image_is_further_from_itself_the_more_severe_the_corruption(kind: str) -> None:
    image = sized(tile(1, 5, 0, side=96))
    changed = [corrupt(image, kind, strength, name="a") for strength in KINDS[kind]]
    distances = [float(np.abs(each.astype(float) - image).mean()) for each in changed]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert {(each.shape, each.dtype.name) for each in changed} == {((SIDE, SIDE, 3), "uint8")}


def test_noise_is_the_same_for_an_image_and_another_for_another() -> None:
    image = sized(tile(1, 5, 0))
    one, again, other = (corrupt(image, "gaussian_noise", 0.1, name=name) for name in ("a", "a", "b"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_five_severities_of_each_corruption(name: str) -> None:
    assert {len(strengths) for strengths in corruptions_of(name).values()} == {5}


def test_shorter_side_gets_the_size_of_the_severities_and_the_shape_is_kept() -> None:
    assert sized(np.zeros((100, 200, 3), np.uint8)).shape == (SIDE, 2 * SIDE, 3)
    assert corruptions_of("a task of one's own") == corruptions_of("dermamnist")
