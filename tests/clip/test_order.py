"""The order of samples: complete, without repeats, the same for any number of processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.clip.order import Draw, SampleOrder, random_for


def ones(n: int) -> np.ndarray:
    return np.ones(n, np.float32)


@settings(deadline=None)
@given(n=st.integers(8, 200), batch_size=st.integers(1, 8), seed=st.integers(0, 2**31), epoch=st.integers(0, 3))
def test_epoch_sees_each_sample_at_most_once(n, batch_size, seed, epoch):
    order = SampleOrder(ones(n), batch_size, seed)
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    seen = [draw.index for step in steps for draw in order.batch(step)]
    assert len(set(seen)) == len(seen) == n // batch_size * batch_size
    assert {order.epoch_of(step) for step in steps} == {epoch}


@given(step=st.integers(0, 50), world_size=st.sampled_from([1, 2, 4]))
def test_shares_of_the_processes_make_up_the_batch(step, world_size):
    order = SampleOrder(ones(100), 8, seed=3)
    shares = [draw for rank in range(world_size) for draw in order.batch(step, rank=rank, world_size=world_size)]
    assert shares == order.batch(step)


def test_weights_are_the_expected_appearances():
    weights = np.array([2.0] * 10 + [0.25] * 40, np.float32)
    order = SampleOrder(weights, 5, seed=0)
    counts = np.zeros(50)
    for step in range(200 * order.steps_per_epoch):
        for draw in order.batch(step):
            counts[draw.index] += 1
    ratio = counts[:10].mean() / counts[10:].mean()
    assert ratio == pytest.approx(8, rel=0.1)


def test_seeds_and_epochs_differ():
    order, other = SampleOrder(ones(64), 64, seed=0), SampleOrder(ones(64), 64, seed=1)
    indices = [[draw.index for draw in given.batch(step)] for given, step in ((order, 0), (order, 1), (other, 0))]
    assert len({tuple(row) for row in indices}) == 3


def test_random_numbers_belong_to_seed_epoch_and_sample():
    values = [
        random_for(*given).random() for given in ((0, Draw(0, 1)), (0, Draw(1, 1)), (1, Draw(0, 1)), (0, Draw(0, 2)))
    ]
    assert len(set(values)) == 4
    assert random_for(0, Draw(0, 1)).random() == values[0]


def test_too_few_samples_say_what_to_lower():
    with pytest.raises(ValueError, match=r"lower train_clip\.batch_size"):
        SampleOrder(ones(7), 8, seed=0)
