"""The stream as a PyTorch data set: the samples and their order are the same for any number of loader workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from biomedica_kedro.records import DataError, Reject
from biomedica_kedro.shards.lanes import Lane, LaneReader, LaneState, Tally
from biomedica_kedro.shards.order import deal, share
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.stream import LaneStream, Stream, Uneven

logger = logging.getLogger(__name__)

Item = TypeVar("Item", covariant=True)
Made = TypeVar("Made")


class ShardDataset(IterableDataset[Item], Generic[Item]):
    """Give a stream to `torch.utils.data.DataLoader`.

    With a table of places the batches are the same for any number of workers. A sequential stream shares its lanes out
    to the workers: every sample comes once, but which samples meet in a batch depends on their number; where that must
    not be, use `LaneParts`, as training does.

    Example:
        >>> chosen = stream(folder, where="split = 'train'", block=64)  # doctest: +SKIP
        >>> loader = DataLoader(ShardDataset(chosen, decode), batch_size=64, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self, chosen: Stream | LaneStream, transform: Callable[[Sample], Item], uneven: Uneven | str = Uneven.DROP
    ) -> None:
        """Take a stream.

        Args:
            chosen: its `block` must be the loader's batch size.
            transform: picklable, from sample to item.
            uneven: what becomes of the last batches where ranks would get unequal numbers; see `stream.Uneven`.
        Raises:
            ValueError: for one epoch of a sequential stream over several ranks: how many samples each gets shows only
                at the end.
        """
        super().__init__()
        self._transform = transform
        self._stream = chosen
        if isinstance(chosen, Stream):
            self._stream = chosen.dealt(replace(chosen.deal, uneven=Uneven(uneven)))
            left = len(chosen.deal.rows(chosen.places)) - len(self._stream)
            self._stream.position = chosen.position
            if left:
                logger.info("ranks get equal numbers of batches (uneven=%s): %+d samples here", uneven, -left)
        elif chosen.world_size > 1 and chosen.lanes[0].epoch is not None and Uneven(uneven) is not Uneven.KEEP:
            raise ValueError(
                "one epoch of a sequential stream gives ranks unequal numbers of batches: stream `.at_epoch(None)` and "
                "stop after a number of steps, or set uneven to 'keep'"
            )

    def __iter__(self) -> Iterator[Item]:
        chosen, info = self._stream, get_worker_info()
        if isinstance(chosen, LaneStream):
            if info is not None:
                readers = chosen.world_size * info.num_workers
                chosen = LaneStream(chosen.lanes, chosen.rank * info.num_workers + info.id, readers)
            yield from map(self._transform, chosen)
            return
        rows = chosen.deal.rows(chosen.places)[chosen.position :]
        if info is not None:
            rows = deal(rows, block=chosen.deal.block, player=info.id, players=info.num_workers)
        for found in chosen.read(rows):
            if isinstance(found, Reject):
                logger.warning("passed over %s: %s: %s", found.source, found.reason, found.detail)
            else:
                yield self._transform(found)

    def __len__(self) -> int:
        if isinstance(self._stream, LaneStream):
            raise TypeError("a sequential stream does not know how many samples it has")
        return len(self._stream)

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch; call before iterating over the loader."""
        self._stream = self._stream.at_epoch(epoch)

    def state(self, n_consumed: int) -> dict[str, Any]:
        """State after so many samples came out of the loader; workers run ahead, so only the caller knows."""
        if isinstance(self._stream, LaneStream):
            raise TypeError("the state of a sequential stream lies in its readers: use `LaneParts`, which gives it")
        return self._stream.state() | {"position": self._stream.position + n_consumed}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on after the sample that a state stands for; see `Stream.resumed`."""
        self._stream = self._stream.resumed(state)


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the order: sample number `index` of a training."""

    index: int


@dataclass(slots=True)
class Part(Generic[Made]):
    """One reader's part of a step's batch.

    Attributes:
        made: what `collate` made of it.
        states: where the reader's lanes stand after it, as JSON values.
        tally: what became of what was read for it.
        skipped: samples that could not be used; each one's place was taken by the next of its lane.
    """

    made: Made
    states: dict[int, list[Any]]
    tally: Tally
    skipped: list[str]


@dataclass(slots=True)
class LaneParts(IterableDataset[Part[Any]]):
    """Batches of a sequential stream without end, each made by all workers of a rank together.

    Lane l gives the samples l * m to (l + 1) * m - 1 of every global batch of `lanes` times m, so any number of ranks
    times workers that divides the lanes gives the same batches. Use with `DataLoader(..., batch_size=None)`, which
    takes a part of each worker in turn: those of a step follow each other.

    Attributes:
        lanes: all of them, by number.
        states: where they begin, as JSON values; at the start where there is none.
        batch_size: samples of a step over all ranks; a multiple of the number of lanes.
        steps: first step and the one after the last.
        prepare: from a sample and its slot to an item; a `DataError` has the next sample take its place.
        collate: from a part's items to what is wanted.
        rank: of the process.
        world_size: how many there are.
    """

    lanes: Sequence[Lane]
    states: Mapping[int, Sequence[Any]]
    batch_size: int
    steps: tuple[int, int]
    prepare: Callable[[Sample, Slot], Any]
    collate: Callable[[list[Any]], Any]
    rank: int = 0
    world_size: int = 1
    _skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Part[Any]]:
        info = get_worker_info()
        n_workers, worker = (1, 0) if info is None else (info.num_workers, info.id)
        own = share(len(self.lanes), player=self.rank * n_workers + worker, players=self.world_size * n_workers)
        states = {number: LaneState.of(self.states[number]) for number in own if number in self.states}
        reader = LaneReader({number: self.lanes[number] for number in own}, states)
        per_lane = self.batch_size // len(self.lanes)
        try:
            for step in range(*self.steps):
                first = step * self.batch_size
                reader.tally = Tally()
                slots = [(number, Slot(first + number * per_lane + k)) for number in own for k in range(per_lane)]
                made = self.collate([self._item(reader, number, slot) for number, slot in slots])
                skipped, self._skipped = self._skipped, []
                yield Part(made, {number: reader.state(number).to_json() for number in own}, reader.tally, skipped)
        finally:
            reader.close()

    def _item(self, reader: LaneReader, number: int, slot: Slot) -> Any:
        while True:
            sample = reader.take(number)
            if sample is None:
                raise ValueError("the lanes end: give lanes without an epoch")
            try:
                return self.prepare(sample, slot)
            except DataError as error:
                self._skipped.append(f"sample {sample.key}: {error}")
