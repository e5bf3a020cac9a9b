"""In which order samples are read, and who reads which: pure functions of seed and epoch.

The order is dealt in blocks, as cards are: block 0 to rank 0, block 1 to rank 1, and so on; a rank deals its blocks to
its workers in the same way. With a block as long as a batch, a loader that takes one batch from each worker in turn
sees exactly the rank's order, whatever the number of workers.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from biomedica_kedro.shards.index import Places

Rows = npt.NDArray[np.int64]


class Shuffle(StrEnum):
    """How samples are ordered.

    NONE: as they lie. SHARDS: shard by shard in random order, read sequentially: for remote and rotating disks (the
    samples of a shard are a random draw already). SAMPLES: a random permutation of all of them.
    """

    NONE = "none"
    SHARDS = "shards"
    SAMPLES = "samples"


def read_order(places: Places, shuffle: Shuffle, *, seed: int, epoch: int) -> Rows:
    """Row numbers of `places` in reading order; a permutation."""
    rows = np.arange(len(places), dtype=np.int64)
    if shuffle is Shuffle.NONE:
        return rows
    if shuffle is Shuffle.SAMPLES:
        return _permutation(len(places), seed, epoch)
    turn = np.empty(len(places.shards), dtype=np.int64)
    turn[_permutation(len(places.shards), seed, epoch)] = np.arange(len(places.shards))
    return np.argsort(turn[places.shard], kind="stable").astype(np.int64)


def deal(rows: Rows, *, block: int, player: int, players: int) -> Rows:
    """Every `players`-th block of rows, beginning with block number `player`.

    Raises:
        ValueError: when there is no such player.
    """
    if not 0 <= player < players:
        raise ValueError(f"rank or worker {player} of {players}: must be between 0 and {players - 1}")
    dealt: Rows = rows[(np.arange(len(rows)) // block) % players == player]
    return dealt


def _permutation(n: int, seed: int, epoch: int) -> Rows:
    # The raw numbers of a bit generator are the same in every version of numpy; `permutation` makes no such promise.
    draws = np.random.Philox(key=[seed & 0xFFFFFFFFFFFFFFFF, epoch]).random_raw(n)
    return np.argsort(draws, kind="stable").astype(np.int64)
