"""Read shards sequentially, many at a time, in an order that does not depend on who reads.

The order is carried by a fixed number of lanes. A lane reads one shard after the other, each with one request, in
windows of consecutive samples; a window is filtered, balanced and shuffled as a whole. What a lane gives is a function
of its source, its number and the seed alone, so any number of readers that share the lanes out gives the same samples,
and a lane goes on exactly where it stopped after reading one window again (one shard where it is compressed).
Readers of one source take turns: the k-th shard of lane l of n is number k * n + l of the shuffled shards, epoch after
epoch, so lanes need no more shards than there are and none waits for another at an epoch's end.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from biomedica_kedro.records import Reject, RejectReason
from biomedica_kedro.shards.filters import chosen, message_on, unknown_names
from biomedica_kedro.shards.members import ShardError
from biomedica_kedro.shards.order import permutation
from biomedica_kedro.shards.reader import STAGE, Entry, read_entries
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.sources import ShardSet, Source

logger = logging.getLogger(__name__)

_MOST_THREADS = 32
_REJECTS_NAMED = 5


class LaneError(Exception):
    """A lane cannot go on; says what it found."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """Where a lane stands.

    Attributes:
        turn: which of its shards it reads, from 0.
        start: byte of the shard at which to begin reading.
        skip: samples and rejects to pass over from there.
        taken: samples given of the window that begins there.
        lost: shards that could not be read to their end.
        counts: samples seen so far by the value they are balanced by.
    """

    turn: int = 0
    start: int = 0
    skip: int = 0
    taken: int = 0
    lost: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> list[Any]:
        """Plain values, for a checkpoint."""
        return [self.turn, self.start, self.skip, self.taken, self.lost, dict(self.counts)]

    @classmethod
    def of(cls, values: Sequence[Any]) -> LaneState:
        """From `to_json`."""
        return cls(*values)


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of a source; picklable.

    Attributes:
        shards: the source.
        number: which of its lanes this is, from 0.
        n_lanes: how many it has.
        seed: of the order of shards and of samples within windows.
        window: samples that are shuffled among each other.
        epoch: the only epoch to read; None reads on for ever, from epoch 0.
    """

    shards: ShardSet
    number: int
    n_lanes: int
    seed: int
    window: int
    epoch: int | None = None

    def shard(self, turn: int) -> tuple[int, str] | None:
        """Epoch and URL of the lane's shard of a turn; None after the last."""
        n_shards = len(self.shards.shards)
        epoch, place = divmod(turn * self.n_lanes + self.number, n_shards)
        if self.epoch is not None:
            if epoch > 0:
                return None
            epoch = self.epoch
        return epoch, self.shards.shards[permutation(n_shards, self.seed, epoch)[place]]


@dataclass(slots=True)
class Tally:
    """What became of what was read: `read` = given + left out by filter or balance + rejected."""

    read: int = 0
    left_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: list[Reject] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        self.read += other.read
        self.left_out += other.left_out
        self.rejected.update(other.rejected)
        self.examples += other.examples[: max(0, _REJECTS_NAMED - len(self.examples))]

    def reject(self, reject: Reject) -> None:
        """Count one."""
        self.rejected[str(reject.reason)] += 1
        if len(self.examples) < _REJECTS_NAMED:
            self.examples.append(reject)


@dataclass(slots=True)
class Window:
    """Samples in the order they are given; `state` leads to this window again, `after` past it."""

    samples: list[Sample]
    state: LaneState
    tally: Tally


def read_windows(lane: Lane, state: LaneState) -> Iterator[Window]:
    """The windows of a lane from a state on.

    Raises:
        LaneError: when more shards are lost than `Source.missing` allows, or all shards give nothing.
        ValueError: when the filter does not fit the samples.
    """
    barren, tally = 0, Tally()
    samples: list[Sample] = []
    unknown: set[str] | None = None
    while (place := lane.shard(state.turn)) is not None:
        epoch, url = place
        n_given = 0
        reader = _EntryReader(lane, url, state.start, state.skip)
        while entries := reader.next_window():
            samples = [entry.value for entry in entries if isinstance(entry.value, Sample)] or samples
            if samples and unknown != set():
                missing = unknown_names(samples, lane.shards.source.where)
                unknown = missing if unknown is None else unknown & missing
            window, counts = _window(lane, entries, state, (epoch, url))
            yield window
            n_given += len(window.samples)
            tally.add(window.tally)
            state = replace(state, start=reader.start, skip=reader.skip, taken=0, counts=counts)
        state = LaneState(state.turn + 1, lost=state.lost + (reader.error is not None), counts=state.counts)
        if unknown:
            raise ValueError(f"{lane.shards.source.label}: {message_on(unknown, samples)}")
        if reader.error is not None:
            yield _lost(lane, state, url, reader.error)
        barren = 0 if n_given else barren + 1
        if barren >= len(lane.shards.shards) and lane.epoch is None:
            raise LaneError(_barren(lane, tally))


class _EntryReader:
    """A shard's entries in windows; `start` and `skip` lead to the next one."""

    def __init__(self, lane: Lane, url: str, start: int, skip: int) -> None:
        self.start, self.skip = start, skip
        self.error: Exception | None = None
        self._size = lane.window
        self._entries = read_entries(url, lane.shards.reading, lane.shards.access, start=start)
        self._to_skip = skip

    def next_window(self) -> list[Entry]:
        entries: list[Entry] = []
        try:
            for _ in islice(self._entries, self._to_skip):
                pass
            self._to_skip = 0
            entries.extend(islice(self._entries, self._size))
        except (OSError, ShardError) as error:
            self.error = error
            self._entries = iter(())
        if entries and entries[-1].is_place:
            self.start, self.skip = entries[-1].place.offset + entries[-1].place.n_bytes, 0
        else:
            self.skip += len(entries)
        return entries


def _window(
    lane: Lane, entries: Sequence[Entry], state: LaneState, shard: tuple[int, str]
) -> tuple[Window, dict[str, int]]:
    """Filter, balance and shuffle; the counts are those after it."""
    source, tally = lane.shards.source, Tally(read=len(entries))
    samples = [entry.value for entry in entries if isinstance(entry.value, Sample)]
    for entry in entries:
        if isinstance(entry.value, Reject):
            tally.reject(entry.value)
    number = shard[1].rpartition("/")[2] + f"@{entries[0].place.offset}"
    random = np.random.Generator(np.random.Philox(key=[lane.seed, _hash(f"{shard[0]}:{number}")]))
    counts = Counter(state.counts)
    is_balanced = source.balance < 1
    kept = []
    for place, value in chosen(samples, source.where, source.balance_by if is_balanced else None):
        counts.update([value] if is_balanced else [])
        if not is_balanced or random.random() < share_taken(counts, value, source):
            kept.append(samples[place])
    tally.left_out = len(samples) - len(kept)
    given = [kept[place] for place in random.permutation(len(kept))]
    return Window(given, state, tally), dict(counts)


def share_taken(counts: Mapping[str, int], value: str, source: Source) -> float:
    """How many of a value a source's balance takes, so that values weigh by their counts to a power, the rarest whole.

    Args:
        counts: how often each value came so far.
        value: one of them; of another value none is taken.
        source: its `balance` and `most_left_out`.
    """
    if not counts.get(value):
        return 0.0
    share: float = (counts[value] / min(counts.values())) ** (source.balance - 1)
    return max(1 - source.most_left_out, share)


def _lost(lane: Lane, state: LaneState, url: str, error: Exception) -> Window:
    allowed = lane.shards.source.missing
    if state.lost > max(1 if allowed else 0, allowed * state.turn):
        raise LaneError(
            f"{url}: {error}. {state.lost} of the {state.turn} shards of lane {lane.number} cannot be read; "
            f"`missing` of the source {lane.shards.source.label} allows a share of {allowed:g}"
        ) from error
    logger.warning("left out the rest of %s: %s", url, error)
    is_missing = isinstance(error, FileNotFoundError)
    reason = RejectReason.NOT_FOUND if is_missing else RejectReason.DOWNLOAD_FAILED
    tally = Tally()
    tally.reject(Reject(url, STAGE, reason, str(error)))
    return Window([], state, tally)


def _barren(lane: Lane, tally: Tally) -> str:
    source = lane.shards.source
    return (
        f"source {source.label} gave no sample in {len(lane.shards.shards)} shards: of {tally.read} samples "
        f"{tally.left_out} do not meet the condition {source.where!r}, rejected are {dict(tally.rejected)}"
    )


def _hash(text: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class LaneReader:
    """The samples of some lanes, each read ahead by one window in a thread.

    Attributes:
        tally: what became of all that was read so far.
    """

    def __init__(self, lanes: Mapping[int, Lane], states: Mapping[int, LaneState]) -> None:
        """Args: lanes: by their number among all; states: where to begin, at the start where there is none."""
        self.tally = Tally()
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, max(1, len(lanes))))
        self._windows: dict[int, Iterator[Window]] = {}
        self._next: dict[int, Future[Window | None]] = {}
        self._now: dict[int, tuple[Window, int]] = {}
        for number, lane in lanes.items():
            state = states.get(number, LaneState())
            self._windows[number] = read_windows(lane, replace(state, taken=0))
            self._now[number] = (Window([], state, Tally()), 0)
            self._fetch(number)
            if state.taken:
                self._turn(number)
                self._now[number] = (self._now[number][0], state.taken)

    def take(self, number: int) -> Sample | None:
        """The next sample of a lane; None after its last."""
        while True:
            window, taken = self._now[number]
            if taken < len(window.samples):
                self._now[number] = (window, taken + 1)
                return window.samples[taken]
            if not self._turn(number):
                return None

    def state(self, number: int) -> LaneState:
        """Where a lane stands after the sample taken last."""
        window, taken = self._now[number]
        return replace(window.state, taken=taken)

    def close(self) -> None:
        """Stop reading ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _turn(self, number: int) -> bool:
        window = self._next[number].result()
        if window is None:
            return False
        self.tally.add(window.tally)
        self._now[number] = (window, 0)
        self._fetch(number)
        return True

    def _fetch(self, number: int) -> None:
        self._next[number] = self._pool.submit(next, self._windows[number], None)


def lay_lanes(sources: Sequence[ShardSet], n_lanes: int, *, seed: int, window: int, epoch: int | None) -> list[Lane]:
    """Deal lanes to sources by their weights, each source's spread over all numbers.

    Raises:
        ValueError: when a source would have no lane.
    """
    total = sum(shards.source.weight for shards in sources)
    shares = [shards.source.weight / total * n_lanes for shards in sources]
    counts = [int(share) for share in shares]
    rest = sorted(range(len(sources)), key=lambda place: counts[place] - shares[place])
    for place in rest[: n_lanes - sum(counts)]:
        counts[place] += 1
    if 0 in counts:
        source = sources[counts.index(0)].source
        raise ValueError(
            f"source {source.label} of weight {source.weight:g} in {total:g} has none of {n_lanes} lanes: "
            "raise `lanes` (and the batch size, which they must divide), or its weight"
        )
    dealt = sorted(
        ((number + 0.5) / count, place, number) for place, count in enumerate(counts) for number in range(count)
    )
    return [Lane(sources[place], number, counts[place], seed + place, window, epoch) for _, place, number in dealt]
