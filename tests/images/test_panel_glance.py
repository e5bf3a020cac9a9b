import numpy as np
import pytest

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_cuts import Cutting, take_apart
from biomedica_kedro.images.panel_glance import SIDE, logit_of, small_figure

LEFT, RIGHT = Box(0, 0, 100, 98), Box(0, 102, 100, 200)


def test_cut_is_drawn_where_it_would_be_made():
    page = np.full((100, 200), 128, np.uint8)

    columns = small_figure(page, LEFT, RIGHT)
    rows = small_figure(page, Box(0, 50, 24, 200), Box(26, 50, 100, 200))

    assert columns.shape == (SIDE, SIDE, 2) and (columns[..., 0] == 128).all()
    assert set(np.flatnonzero(columns[0, :, 1])) == {31, 32} and columns[:, 31, 1].all()
    assert set(np.flatnonzero(rows[:, 40, 1])) == {15, 16} and not rows[:, :16, 1].any()


@pytest.mark.parametrize("side", [1, 2, 7, 3000], ids=str)
def test_figure_of_any_size_is_seen(side: int):
    page = np.zeros((side, 10), np.uint8)

    assert small_figure(page, Box(0, 0, side, 5), Box(0, 5, side, 10))[..., 1].any()


def test_numbers_are_those_of_the_network_that_was_trained():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (SIDE, SIDE, 2)).astype(np.uint8)
    kernels = [rng.normal(0, 0.3, (3, 2, 4, 4)), rng.normal(0, 0.3, (5, 3, 3, 3))]  # after, before, rows, columns
    tensors = {"mean": np.ones(2), "scale": np.full(2, 2.0)}
    seen = torch.tensor(small.transpose(2, 0, 1)[None] / 255 - 0.5)
    for number, kernel in enumerate(kernels):
        tensors[f"conv_{number}"] = kernel.transpose(2, 3, 1, 0).reshape(-1, len(kernel))
        tensors[f"conv_bias_{number}"] = np.full(len(kernel), 0.1)
        seen = torch.conv2d(seen, torch.tensor(kernel), torch.full((len(kernel),), 0.1).double(), 2, 1).relu()
    for number, shape in enumerate([(12, 4), (4, 1)]):
        tensors[f"weight_{number}"], tensors[f"bias_{number}"] = rng.normal(size=shape), np.zeros(shape[1])
    values = np.concatenate([seen.mean((2, 3))[0].numpy(), seen.amax((2, 3))[0].numpy(), [1.0, -4.0]])

    expected = np.maximum(values @ tensors["weight_0"], 0) @ tensors["weight_1"]

    assert logit_of(tensors, small, np.array([3.0, -90.0])) == pytest.approx(float(expected[0]), rel=1e-5)


def unsure() -> np.ndarray:
    """A blurred ridge in a texture: neither a gutter nor none."""
    rough = np.random.default_rng(3).integers(90, 150, (30, 44))
    page = np.kron(rough, np.ones((8, 8))).astype(np.uint8)
    page[:, 174:178] = 200
    return page


@pytest.mark.parametrize("logit", [-60.0, 60.0])
def test_second_look_decides_where_the_cuts_are_not_sure(monkeypatch, logit: float):
    monkeypatch.setattr("biomedica_kedro.images.panel_cuts._UNSURE", np.inf)
    monkeypatch.setattr("biomedica_kedro.images.panel_glance.glance", lambda *given: logit)

    pieces = take_apart(unsure(), 1.0, 0)

    assert (len(pieces.boxes) > 1) is (logit > 0)
    cut = Cutting(unsure(), 1.0, 0).surest().logit
    assert pieces.probability == pytest.approx(1 / (1 + np.exp(-(2 * cut + logit) / 3)))


def test_second_look_is_not_taken_where_the_cuts_are_sure(monkeypatch):
    def never(*given):
        raise AssertionError

    monkeypatch.setattr("biomedica_kedro.images.panel_glance.glance", never)
    monkeypatch.setattr("biomedica_kedro.images.panel_cuts._UNSURE", 0.0)

    assert take_apart(unsure(), 1.0, 0).probability == pytest.approx(
        1 / (1 + np.exp(-Cutting(unsure(), 1.0, 0).surest().logit))
    )


def test_image_too_small_to_be_cut_has_no_surest_cut():
    assert Cutting(np.zeros((4, 9), np.uint8), 1.0, 0).surest() is None
