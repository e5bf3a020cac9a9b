"""A model on the CPU gives the same bits on any number of cores."""

from __future__ import annotations

import pytest
import torch

from biomedica_kedro.labels.pieces import in_pieces


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32 * 28 * 28, 64)
    )


def test_number_of_cores_and_earlier_threads_change_no_bit(model, monkeypatch):
    images, found = torch.randn(50, 3, 32, 32), []
    for cores, threads in (("1", 1), ("2", 4), ("7", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        torch.set_num_threads(threads)
        found.append(in_pieces(model, images))
        assert torch.get_num_threads() == threads
    assert found[0].equal(found[1])
    assert found[0].equal(found[2])
    torch.testing.assert_close(found[0], model(images).detach(), rtol=1e-4, atol=1e-5)


def test_no_gradient_is_kept(model):
    assert not in_pieces(model, torch.randn(2, 3, 32, 32)).requires_grad
