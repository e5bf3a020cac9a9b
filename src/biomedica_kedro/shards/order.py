"""In which order samples are read, and who reads which: pure functions of seed and epoch.

Training and `stream` share these. The order is dealt in blocks, as cards are: block 0 to rank 0, block 1 to rank 1, and
so on; a rank deals its blocks to its workers in the same way. With a block as long as a batch, a loader that takes one
batch from each worker in turn sees exactly the rank's order, whatever the number of workers.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from biomedica_kedro.shards.index import Places

Rows = npt.NDArray[np.int64]

_MASK = 0xFFFFFFFFFFFFFFFF


class Shuffle(StrEnum):
    """How samples are ordered.

    NONE: as they lie. SHARDS: shard by shard in random order, read sequentially: for remote and rotating disks (the
    samples of a shard are a random draw already). SAMPLES: a random permutation of all of them.
    """

    NONE = "none"
    SHARDS = "shards"
    SAMPLES = "samples"


def read_order(places: Places, shuffle: Shuffle, *, seed: int, epoch: int) -> Rows:
    """Row numbers of `places` in reading order; with weights of 1 a permutation."""
    if shuffle is Shuffle.SAMPLES:
        return drawn_order(places.weight, seed=seed, epoch=epoch)
    rows = np.arange(len(places), dtype=np.int64)
    if shuffle is Shuffle.NONE:
        return rows
    turn = np.empty(len(places.shards), dtype=np.int64)
    turn[permutation(len(places.shards), seed, epoch)] = np.arange(len(places.shards))
    return np.argsort(turn[places.shard], kind="stable").astype(np.int64)


def drawn_order(weights: npt.NDArray[np.float32], *, seed: int, epoch: int, at_least: int = 0) -> Rows:
    """Row numbers in random order, each as often as its weight says.

    Args:
        weights: expected appearances; 2.3 is two, and a third time in three epochs of ten.
        seed: of the draw.
        epoch: every epoch has a draw of its own.
        at_least: how many are needed; an unlucky draw is filled up with rows at random.
    """
    random = np.random.Generator(np.random.Philox(key=[seed & _MASK, epoch]))
    whole = np.floor(weights)
    repeats = (whole + (random.random(len(whole)) < weights - whole)).astype(np.int64)
    indices = np.repeat(np.arange(len(whole), dtype=np.int64), repeats)
    if len(indices) < at_least:
        indices = np.concatenate([indices, random.permutation(len(whole))[: at_least - len(indices)]])
    return random.permutation(indices)


def permutation(n: int, seed: int, epoch: int) -> Rows:
    """Numbers below `n` in random order."""
    # The raw numbers of a bit generator are the same in every version of numpy; `permutation` makes no such promise.
    draws = np.random.Philox(key=[seed & _MASK, epoch]).random_raw(n)
    return np.argsort(draws, kind="stable").astype(np.int64)


def deal(rows: Rows, *, block: int, player: int, players: int) -> Rows:
    """Every `players`-th block of rows, beginning with block number `player`.

    Raises:
        ValueError: when there is no such player.
    """
    check_player(player, players)
    dealt: Rows = rows[(np.arange(len(rows)) // block) % players == player]
    return dealt


def share(n: int, *, player: int, players: int) -> range:
    """A player's numbers of the first `n`, in one piece.

    Raises:
        ValueError: when there is no such player, or the shares would differ.
    """
    check_player(player, players)
    if n % players:
        raise ValueError(f"{n} lanes do not divide into {players} readers (ranks times workers): change `lanes`")
    return range(n // players * player, n // players * (player + 1))


def check_player(player: int, players: int) -> None:
    """Refuse a rank or worker that is not one of them.

    Raises:
        ValueError: says which there are.
    """
    if not 0 <= player < players:
        raise ValueError(f"rank or worker {player} of {players}: must be between 0 and {players - 1}")
