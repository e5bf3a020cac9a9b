"""Which sample is seen when: a pure function of (seed, epoch, step), whatever the number of workers or processes.

A training that resumes asks for step k and gets what it would have got uninterrupted. Each epoch is a permutation of
the samples; a sample of weight 2.3 appears two times, and a third time in three epochs of ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from biomedica_kedro.shards.order import drawn_order


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample at one place of the order; `epoch` decides its augmentation."""

    epoch: int
    index: int


class SampleOrder:
    """The order of samples over all epochs, cut into batches; the last, smaller batch of an epoch is left out.

    Args:
        weights: expected appearances of each sample in an epoch.
        batch_size: samples of a step, over all processes.
        seed: decides the permutations.
    Raises:
        ValueError: when an epoch has fewer samples than a batch.
    """

    def __init__(self, weights: npt.NDArray[np.float32], batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        # Whole repeats are the same in every epoch; only the fractional ones are drawn. The smallest epoch counts.
        smallest = int(np.floor(weights).sum())
        self.steps_per_epoch = max(smallest, int(weights.sum() * _SAFE_SHARE)) // batch_size
        if np.all(weights == np.floor(weights)):
            self.steps_per_epoch = smallest // batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"an epoch holds {len(weights)} training samples, fewer than one batch of {batch_size}: "
                "lower train_clip.batch_size, or select more samples"
            )
        self._epoch_order = lru_cache(maxsize=2)(
            partial(drawn_order, weights, seed=seed, at_least=self.steps_per_epoch * batch_size)
        )

    def epoch_of(self, step: int) -> int:
        """The epoch a step falls in, from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> list[Draw]:
        """Samples of a step; with several processes, the share of process `rank`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        share = self._batch_size // world_size
        first = place * self._batch_size + rank * share
        return [Draw(epoch, int(index)) for index in self._epoch_order(epoch=epoch)[first : first + share]]

    def batches(self, first: int, last: int, *, rank: int = 0, world_size: int = 1) -> Iterator[list[Draw]]:
        """Batches of steps `first` to `last` - 1."""
        for step in range(first, last):
            yield self.batch(step, rank=rank, world_size=world_size)


_SAFE_SHARE = 0.98


def random_for(seed: int, draw: Draw) -> np.random.Generator:
    """Random numbers of one sample in one epoch, independent of who asks and when."""
    return np.random.Generator(np.random.Philox(key=[seed ^ (draw.epoch << 40), draw.index]))
