"""Stream samples from shards, wherever they lie: chosen by a condition, shuffled, split over ranks, resumed exactly.

Example:
    >>> for sample in stream("data/05_model_input", where="primary_label = 'Microscopy'", seed=1):  # doctest: +SKIP
    ...     sample.image, sample.caption, sample.record

With a table of places (our metadata, or an index) samples are read in any order and what fails the condition is never
read: `Stream`. Without one, shards are read from start to end, many at a time, and the condition is asked of the
samples as they pass: `LaneStream`. Nothing is decoded and nothing is executed: an image stays bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from biomedica_kedro.records import DataError, Reject
from biomedica_kedro.shards.hints import check_columns
from biomedica_kedro.shards.index import Places, locate, table_of
from biomedica_kedro.shards.lanes import Lane, LaneReader, LaneState, Tally, lay_lanes
from biomedica_kedro.shards.order import Rows, Shuffle, deal, read_order, share
from biomedica_kedro.shards.places import DEFAULT_ACCESS, SUFFIX, Access, Url, list_shards, local_path
from biomedica_kedro.shards.ranges import RunReader
from biomedica_kedro.shards.reader import STAGE, Reading, ShardError, parse_sample, read_sample
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.sources import Source, StreamOptions, open_source

_BLOCKS_AHEAD = 2
_ORDER = 2  # raised when the same seed gives another order than before


class ResumeError(ValueError):
    """A state belongs to another stream."""


class Uneven(StrEnum):
    """What becomes of the last blocks, where ranks would get unequal numbers of them.

    KEEP: ranks get what there is. DROP: all get as many as the least. PAD: all get as many as the most, some samples
    twice.
    """

    KEEP = "keep"
    DROP = "drop"
    PAD = "pad"


def stream(
    urls: Url | Source | Sequence[Url | Source],
    *,
    metadata: Url | None = None,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    shuffle: Shuffle | str = Shuffle.SAMPLES,
    seed: int = 0,
    block: int = 64,
    options: StreamOptions | None = None,
) -> Stream | LaneStream:
    """Stream samples: of epoch 0, all of them, from the start; see `at_epoch`, `of_rank` and `resumed` of the result.

    Args:
        urls: a folder with shards and metadata, a folder of shards, shards one by one or by a pattern, local or any
            URL (http, s3, gs, az, hf): see `index.locate` and `places.list_shards`; or a `Source` or several, which
            say where their captions are and are always read sequentially.
        metadata: folder of the metadata table or of an index, when it is not beside the shards.
        where: SQL condition on the columns of `dataset_metadata`, or, without a table, on the fields of the records.
        columns: fields of the record that are wanted; None gives all, an empty list none.
        shuffle: "samples", "shards" or "none"; see `Shuffle`. Without a table: any but "none" is random shards and
            windows.
        seed: of the shuffle.
        block: samples that are read together, and dealt to one rank; the batch size is a good choice.
        options: lanes, window and retries of sequential reading.
    Raises:
        FileNotFoundError: when there are no shards.
        ValueError: when the condition or a column is not valid, or no sample can be used.
    """
    options = options or StreamOptions()
    given = list(urls) if isinstance(urls, Sequence) and not isinstance(urls, str) else [urls]
    access = options.access(Source(url=""))
    sources = _sources(given, where, has_table=metadata is not None, access=access)
    if sources is not None:
        sets = [open_source(source, options, columns) for source in sources]
        return LaneStream(lay_lanes(sets, options.lanes, seed=seed, window=options.window, epoch=0))
    table_urls: Any = given[0] if len(given) == 1 else given
    places = locate(table_urls, metadata=metadata, where=where, access=access)
    if columns and len(places):
        first = read_sample(places.shards[places.shard[0]], int(places.offset[0]), int(places.n_bytes[0]))
        check_columns(columns, first.record)
    return Stream(places, Deal(Shuffle(shuffle), seed=seed, block=block), columns, access)


def _sources(
    given: Sequence[Url | Source], where: str | None, *, has_table: bool, access: Access
) -> list[Source] | None:
    """What is read sequentially; None where there is a table of places, or where one is quickly made."""
    if any(isinstance(url, Source) for url in given):
        return [url if isinstance(url, Source) else Source(url=str(url), where=where) for url in given]
    urls = [str(url) for url in given]
    if has_table or (len(urls) == 1 and table_of(urls[0], access) is not None):
        return None
    shards = list_shards(urls, access)
    if where is None and all(local_path(shard) is not None and shard.endswith(SUFFIX) for shard in shards):
        return None
    return [Source(url=shards, where=where)]


@dataclass(frozen=True, slots=True)
class Deal:
    """Which samples a rank reads, in which order; see `stream`."""

    shuffle: Shuffle = Shuffle.SAMPLES
    seed: int = 0
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    block: int = 64
    uneven: Uneven = Uneven.KEEP

    def rows(self, places: Places) -> Rows:
        """The rank's rows of `places`, in reading order."""
        order = read_order(places, self.shuffle, seed=self.seed, epoch=self.epoch)
        rest = len(order) % (self.block * self.world_size)
        if self.world_size > 1 and rest and self.uneven is Uneven.DROP:
            order = order[:-rest]
        if self.world_size > 1 and rest and self.uneven is Uneven.PAD:
            order = order.take(range(len(order) + self.block * self.world_size - rest), mode="wrap")
        return deal(order, block=self.block, player=self.rank, players=self.world_size)


class Stream(Iterator[Sample]):
    """Samples by a table of places; knows where it stands. Iterated to its end, it starts again the next time.

    Attributes:
        places: of the chosen samples.
        deal: order and share.
        position: rows passed so far.
        tally: of what was read; samples that cannot be used are passed over and counted.
    """

    def __init__(
        self, places: Places, dealt: Deal, columns: Sequence[str] | None = None, access: Access = DEFAULT_ACCESS
    ) -> None:
        self.places = places
        self.deal = dealt
        self.reading = Reading(columns=None if columns is None else tuple(columns))
        self.access = access
        self.position = 0
        self.tally = Tally()
        self._rows = dealt.rows(places)
        self._samples: Iterator[Sample | Reject] | None = None
        self._is_over = False

    def __len__(self) -> int:
        return len(self._rows) - self.position

    def __iter__(self) -> Self:
        if self._is_over:
            self.position, self._samples, self._is_over = 0, None, False
        return self

    def __next__(self) -> Sample:
        if self._samples is None:
            self._samples = self.read(self._rows[self.position :])
        for found in self._samples:
            self.position += 1
            self.tally.read += 1
            if isinstance(found, Sample):
                return found
            self.tally.reject(found)
        self._is_over = True
        raise StopIteration

    def read(self, rows: Rows) -> Iterator[Sample | Reject]:
        """Samples in the order of rows; remote blocks are fetched ahead, a bounded number of them.

        Raises:
            ShardError: names the shard and the byte that do not hold a sample.
        """
        return read_rows(RunReader(self.places, self.access), rows, self.deal.block, self.reading)

    def state(self) -> dict[str, Any]:
        """What `resumed` needs to go on after the sample given last; plain JSON values."""
        d = self.deal
        return {
            "order": _ORDER, "samples": self.places.digest(), "shuffle": str(d.shuffle), "seed": d.seed,
            "epoch": d.epoch, "rank": d.rank, "world_size": d.world_size, "block": d.block, "position": self.position,
        }  # fmt: skip

    def resumed(self, state: Mapping[str, Any]) -> Self:
        """This stream from the position of a state on.

        Raises:
            ResumeError: when the state is not of this stream; names the first difference.
        """
        _check_same(self.state(), state, but="position")
        self.position = int(state["position"])
        self._samples, self._is_over = None, False
        return self

    def at_epoch(self, epoch: int | None) -> Stream:
        """The same samples in the order of another epoch, from the start.

        Raises:
            ValueError: for None, which reads on for ever: that needs a sequential stream.
        """
        if epoch is None:
            raise ValueError("epoch None reads on for ever, which needs a sequential stream: give the urls as `Source`")
        return self.dealt(replace(self.deal, epoch=epoch))

    def of_rank(self, rank: int, world_size: int) -> Stream:
        """The share of one of so many readers, which together read every sample once, from the start.

        Raises:
            ValueError: when there is no such rank.
        """
        return self.dealt(replace(self.deal, rank=rank, world_size=world_size))

    def dealt(self, dealt: Deal) -> Stream:
        """The same samples, dealt in another way, from the start."""
        return Stream(self.places, dealt, self.reading.columns, self.access)


class LaneStream(Iterator[Sample]):
    """Samples of shards read sequentially, one from each lane in turn; knows where it stands.

    Iterated to its end, it starts again the next time.

    Attributes:
        lanes: all there are, by number.
        rank: which reader this is.
        world_size: of how many.
    """

    def __init__(self, lanes: Sequence[Lane], rank: int = 0, world_size: int = 1) -> None:
        self.lanes = lanes
        self.rank = rank
        self.world_size = world_size
        self._start()

    def _start(self) -> None:
        self._states: dict[int, LaneState] = {}
        self._turn = deque(share(len(self.lanes), player=self.rank, players=self.world_size))
        self._reader: LaneReader | None = None
        self._is_over = False

    @property
    def tally(self) -> Tally:
        """What became of all that was read so far."""
        return self._reader.tally if self._reader is not None else Tally()

    def __iter__(self) -> Self:
        if self._is_over:
            self._start()
        return self

    def __next__(self) -> Sample:
        if self._reader is None:
            self._reader = LaneReader({number: self.lanes[number] for number in self._turn}, self._states)
        while self._turn:
            number = self._turn[0]
            sample = self._reader.take(number)
            if sample is not None:
                self._turn.rotate(-1)
                return sample
            self._turn.popleft()
        self._reader.close()
        self._is_over = True
        raise StopIteration

    def state(self) -> dict[str, Any]:
        """What `resumed` needs to go on after the sample given last; plain JSON values."""
        states = dict(self._states)
        if self._reader is not None:
            states |= {number: self._reader.state(number) for number in self._turn}
        return {
            **identity(self.lanes), "rank": self.rank, "world_size": self.world_size,
            "lanes": [[number, *states.get(number, LaneState()).to_json()] for number in self._turn],
        }  # fmt: skip

    def resumed(self, state: Mapping[str, Any]) -> Self:
        """This stream from a state on.

        Raises:
            ResumeError: when the state is not of this stream; names the first difference.
        """
        _check_same(self.state(), state, but="lanes")
        self._turn = deque(int(values[0]) for values in state["lanes"])
        self._states = {int(values[0]): LaneState.of(values[1:]) for values in state["lanes"]}
        self._reader, self._is_over = None, False
        return self

    def at_epoch(self, epoch: int | None) -> LaneStream:
        """The same shards in the order of another epoch, from the start; None reads on for ever."""
        return LaneStream([replace(lane, epoch=epoch) for lane in self.lanes], self.rank, self.world_size)

    def of_rank(self, rank: int, world_size: int) -> LaneStream:
        """The share of one of so many readers; see `Stream.of_rank`."""
        return LaneStream(self.lanes, rank, world_size)


def identity(lanes: Sequence[Lane]) -> dict[str, Any]:
    """What must be the same for the states of lanes to be of use."""
    first = lanes[0]
    labels = [f"{lane.shards.source.label} where {lane.shards.source.where}" for lane in lanes]
    return {
        "order": _ORDER, "n_lanes": len(lanes), "sources": list(dict.fromkeys(labels)), "seed": first.seed,
        "window": first.window, "epoch": first.epoch, "shards": sorted({len(lane.shards.shards) for lane in lanes}),
    }  # fmt: skip


def read_rows(runs: RunReader, rows: Rows, block: int, reading: Reading) -> Iterator[Sample | Reject]:
    """Read samples in the order of `rows`; remote blocks are fetched ahead, a bounded number of them.

    Raises:
        ShardError: names the shard and the byte that do not hold a sample.
    """
    blocks = (rows[start : start + block].tolist() for start in range(0, len(rows), block))
    found = ((row, run) for own in blocks for row, run in zip(own, runs.read(own), strict=True))
    for row, run in found if runs.is_local else _read_ahead(runs, blocks):
        try:
            runs.check(row, run)
            yield parse_sample(run, reading)
        except DataError as error:
            yield Reject(runs.where(row), STAGE, error.reason, error.detail)
        except ShardError as error:
            raise ShardError(f"{runs.where(row)}: {error}") from error


def _read_ahead(runs: RunReader, blocks: Iterator[list[int]]) -> Iterator[tuple[int, bytes]]:
    with ThreadPoolExecutor(_BLOCKS_AHEAD) as pool:
        waiting: deque[tuple[list[int], Future[list[bytes]]]] = deque()
        for own in blocks:
            waiting.append((own, pool.submit(_read_all, runs, own)))
            if len(waiting) > _BLOCKS_AHEAD:
                own, fetched = waiting.popleft()
                yield from zip(own, fetched.result(), strict=True)
        for own, fetched in waiting:
            yield from zip(own, fetched.result(), strict=True)


def _read_all(runs: RunReader, rows: list[int]) -> list[bytes]:
    return list(runs.read(rows))


def _check_same(mine: Mapping[str, Any], state: Mapping[str, Any], *, but: str) -> None:
    for name, value in mine.items():
        if name != but and state.get(name) != value:
            raise ResumeError(
                f"cannot resume: {name} is {value!r} here but {state.get(name)!r} in the state; "
                "stream the same samples with the same seed, epoch and ranks"
            )
