from __future__ import annotations

import numpy as np
import pytest

from biomedica_corpus import canvas


def test_noise_has_zero_mean_and_about_unit_variance() -> None:
    values = canvas.noise(np.random.default_rng(0), 200, 150, 30)
    assert values.shape == (150, 200)
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.25)


def test_ellipse_is_one_inside_and_zero_outside() -> None:
    x, y = canvas.grid(100, 100)
    mask = canvas.ellipse(x, y, (0.0, 0.0), (0.5, 0.3))
    assert mask[50, 50] == 1
    assert mask[0, 0] == 0
    assert mask[50, 50 + 20] == 1
    assert mask[50 + 20, 50] == 0


def test_more_dye_lets_less_light_through() -> None:
    amounts = np.asarray([[0.0, 0.5, 1.0]], np.float32)
    light = canvas.stain([(amounts, (0.65, 0.70, 0.29))])
    assert light[0, 0].tolist() == [1, 1, 1]
    assert (np.diff(light.sum(-1)[0]) < 0).all()


def test_no_points_give_an_empty_mask() -> None:
    nothing = np.zeros((0, 2), np.float32)
    assert canvas.blobs(20, 10, nothing, nothing).sum() == 0


def test_nearest_seed_owns_its_surroundings() -> None:
    x, y = canvas.grid(80, 80)
    margin, owner = canvas.nearest(x, y, np.asarray([[-0.5, 0.0], [0.5, 0.0]], np.float32))
    assert (owner[40, 10], owner[40, 70]) == (0, 1)
    assert margin[40, 40] < margin[40, 10]


def test_ramp_runs_from_the_first_color_to_the_last() -> None:
    colors = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    picture = canvas.ramp(np.asarray([[0.0, 0.5, 1.0]], np.float32), colors)
    assert np.allclose(picture[0], colors, atol=0.01)
