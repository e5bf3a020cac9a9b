"""Stream samples from shards, wherever they lie: chosen by a condition, shuffled, split over ranks, resumed exactly.

Example:
    >>> for sample in stream("data/05_model_input", where="primary_label = 'Microscopy'", seed=1):  # doctest: +SKIP
    ...     sample.image, sample.caption, sample.record

Nothing is decoded and nothing is executed: an image stays bytes until `resize.decode_image`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from biomedica_kedro.shards.index import Places, locate
from biomedica_kedro.shards.order import Rows, Shuffle, deal, read_order
from biomedica_kedro.shards.places import Url
from biomedica_kedro.shards.reader import Reading, ShardError, parse_sample
from biomedica_kedro.shards.samples import Sample

_OPEN_FILES = 64
_BLOCKS_AHEAD = 2


class ResumeError(ValueError):
    """A state belongs to another stream."""


def stream(
    urls: Url | Sequence[Url],
    *,
    metadata: Url | None = None,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    shuffle: Shuffle | str = Shuffle.SAMPLES,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    block: int = 64,
    resume: Mapping[str, Any] | None = None,
) -> Stream:
    """Stream samples.

    Args:
        urls: a folder with shards and metadata, a folder of shards, or shards one by one; local or any URL that fsspec
            opens (http, s3, hf); see `index.locate`.
        metadata: folder of the metadata table, when it is not beside the shards.
        where: SQL condition on the columns of `dataset_metadata`; shards and samples that fail it are never read.
        columns: fields of the record that are wanted; None gives all, an empty list none.
        shuffle: "samples", "shards" or "none"; see `Shuffle`.
        seed: of the shuffle.
        epoch: every epoch has an order of its own.
        rank: which of `world_size` readers this is; together they read every sample once.
        world_size: number of readers.
        block: samples that are read together, and dealt to one rank; the batch size is a good choice.
        resume: `state()` of an earlier stream, to go on after the last sample it gave.
    Raises:
        FileNotFoundError: when there are no shards or no metadata.
        ValueError: when the condition or the rank is not valid.
        ResumeError: when `resume` is the state of another stream.
    """
    dealt = Deal(Shuffle(shuffle), seed=seed, epoch=epoch, rank=rank, world_size=world_size, block=block)
    started = Stream(locate(urls, metadata=metadata, where=where), dealt, columns)
    return started if resume is None else started.resumed(resume)


@dataclass(frozen=True, slots=True)
class Deal:
    """Which samples a rank reads, in which order; see `stream`."""

    shuffle: Shuffle = Shuffle.SAMPLES
    seed: int = 0
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    block: int = 64

    def rows(self, places: Places) -> Rows:
        """The rank's rows of `places`, in reading order."""
        order = read_order(places, self.shuffle, seed=self.seed, epoch=self.epoch)
        return deal(order, block=self.block, player=self.rank, players=self.world_size)


class Stream(Iterator[Sample]):
    """An iterator over samples that knows where it stands."""

    def __init__(self, places: Places, dealt: Deal, columns: Sequence[str] | None = None) -> None:
        self.places = places
        self.deal = dealt
        self.columns = columns
        self.position = 0
        self._rows = dealt.rows(places)
        self._samples: Iterator[Sample] | None = None

    def __len__(self) -> int:
        return len(self._rows) - self.position

    def __next__(self) -> Sample:
        if self._samples is None:
            self._samples = read_rows(self.places, self._rows[self.position :], self.deal.block, self.columns)
        sample = next(self._samples)
        self.position += 1
        return sample

    def state(self) -> dict[str, Any]:
        """What `resume` needs to go on after the sample given last; plain JSON values."""
        d = self.deal
        return {
            "samples": self.places.digest(), "shuffle": str(d.shuffle), "seed": d.seed, "epoch": d.epoch,
            "rank": d.rank, "world_size": d.world_size, "block": d.block, "position": self.position,
        }  # fmt: skip

    def resumed(self, state: Mapping[str, Any]) -> Self:
        """This stream from the position of a state on.

        Raises:
            ResumeError: when the state is not of this stream; names the first difference.
        """
        for name, mine in self.state().items():
            if name != "position" and state.get(name) != mine:
                raise ResumeError(
                    f"cannot resume: {name} is {mine!r} here but {state.get(name)!r} in the state; "
                    "stream the same samples with the same seed, epoch and ranks"
                )
        self.position = int(state["position"])
        self._samples = None
        return self

    def at_epoch(self, epoch: int) -> Stream:
        """The same samples in the order of another epoch, from the start."""
        return Stream(self.places, replace(self.deal, epoch=epoch), self.columns)


def read_rows(places: Places, rows: Rows, block: int, columns: Sequence[str] | None) -> Iterator[Sample]:
    """Read samples in the order of `rows`; remote blocks are fetched ahead, a bounded number of them.

    Raises:
        ShardError: names the shard and the byte that do not hold a sample.
    """
    blocks = (rows[start : start + block] for start in range(0, len(rows), block))
    reading = Reading(columns=None if columns is None else tuple(columns))
    is_local = all(isinstance(url_to_fs(url)[0], LocalFileSystem) for url in places.shards[:1])
    runs = _local_runs(places, blocks) if is_local else _remote_runs(places, blocks)
    for row, run in runs:
        try:
            yield parse_sample(run, reading, n_bytes=int(places.n_bytes[row]))
        except ShardError as error:
            url = places.shards[places.shard[row]]
            raise ShardError(f"{url} at byte {places.offset[row]}: {error}") from error


def _local_runs(places: Places, blocks: Iterator[Rows]) -> Iterator[tuple[int, bytes]]:
    descriptors: OrderedDict[int, int] = OrderedDict()
    try:
        for rows in blocks:
            for row in rows.tolist():
                shard = int(places.shard[row])
                if shard not in descriptors:
                    if len(descriptors) >= _OPEN_FILES:
                        os.close(descriptors.popitem(last=False)[1])
                    descriptors[shard] = os.open(places.shards[shard].removeprefix("file://"), os.O_RDONLY)
                yield row, os.pread(descriptors[shard], int(places.n_bytes[row]), int(places.offset[row]))
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _remote_runs(places: Places, blocks: Iterator[Rows]) -> Iterator[tuple[int, bytes]]:
    system = url_to_fs(places.shards[0])[0]
    with ThreadPoolExecutor(_BLOCKS_AHEAD) as pool:
        waiting: list[tuple[Rows, Future[list[bytes]]]] = []
        for rows in blocks:
            waiting.append((rows, pool.submit(_fetch, system, places, rows)))
            if len(waiting) > _BLOCKS_AHEAD:
                yield from _fetched(*waiting.pop(0))
        for entry in waiting:
            yield from _fetched(*entry)


def _fetched(rows: Rows, runs: Future[list[bytes]]) -> Iterator[tuple[int, bytes]]:
    yield from zip(rows.tolist(), runs.result(), strict=True)


def _fetch(system: fsspec.AbstractFileSystem, places: Places, rows: Rows) -> list[bytes]:
    starts = places.offset[rows]
    urls = [system._strip_protocol(places.shards[shard]) for shard in places.shard[rows]]
    ends = (starts + places.n_bytes[rows]).tolist()
    runs: list[bytes] = system.cat_ranges(urls, starts.tolist(), ends, on_error="raise")
    return runs
