"""A training fed from shards that are read as they come: others' or one's own, wherever they lie, without a manifest.

Nothing is listed before and nothing is kept on disk. The order is that of `shards.lanes`: the same batches for any
number of processes times workers that divides the lanes, and a killed training goes on from the lanes' states, which
its checkpoints hold.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from biomedica_kedro.clip.checkpoints import TextTokenizer
from biomedica_kedro.clip.config import FeedOptions, TrainOptions
from biomedica_kedro.clip.feed import Batch, Collate, Feed, Preparation, loading, wanted_fields
from biomedica_kedro.clip.order import Draw
from biomedica_kedro.records import DataError
from biomedica_kedro.shards.lanes import Lane, LaneState, lay_lanes
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.sources import Source, StreamOptions, open_source
from biomedica_kedro.shards.stream import LaneStream
from biomedica_kedro.shards.torch_dataset import LaneParts, Part, Slot

logger = logging.getLogger(__name__)

_AT_ONCE = 256
# A slash too many, and MLflow refuses the metric and all that are sent with it.
_NOT_IN_METRIC = re.compile(r"[^A-Za-z0-9_. -]+")


@dataclass(frozen=True, slots=True)
class StreamedSamples:
    """The training samples of a stream; how many there are is not known: its length is 0.

    Attributes:
        lanes: see `shards.lanes`.
        batch_size: samples of a step, over all processes.
    """

    lanes: list[Lane]
    batch_size: int

    def __len__(self) -> int:
        return 0

    def feed(
        self,
        preparation: Preparation,
        tokenizer: TextTokenizer,
        options: FeedOptions,
        *,
        steps: tuple[int, int],
        position: Mapping[int, Sequence[Any]],
        share: tuple[int, int] = (0, 1),
    ) -> Feed:
        """One process's batches of the steps from the first to before the last.

        Args:
            preparation: what is made of a sample.
            tokenizer: of the model.
            options: workers and prefetch.
            steps: first, and the one after the last.
            position: where the lanes stood after the step before; empty at the start.
            share: rank of the process, and how many there are.
        """
        parts = LaneParts(
            self.lanes, position, self.batch_size, steps, _Prepare(preparation), Collate(tokenizer), *share
        )
        loader: DataLoader[Any] = DataLoader(
            parts, batch_size=None, collate_fn=cast(Any, _as_batch), **loading(options)
        )
        found = Feed(loader, parts=max(1, options.workers))
        found.epoch_of = lambda _: self.epoch_of(found.position)
        return found

    def epoch_of(self, position: Mapping[int, Sequence[Any]]) -> int:
        """The latest epoch that a lane has reached."""
        found = (self.lanes[number].shard(LaneState.of(state).turn) for number, state in position.items())
        return max((place[0] for place in found if place is not None), default=0)

    def seen(self, steps: int) -> dict[str, int]:
        """Samples of each source after so many steps, by its name."""
        per_lane = self.batch_size // len(self.lanes)
        counts = Counter(lane.shards.source.label for lane in self.lanes)
        return {_in_metric(label): steps * per_lane * count for label, count in counts.items()}

    def description(self) -> list[str]:
        """A line a source: what is streamed, instead of a list of it."""
        counts = Counter(lane.shards.source.label for lane in self.lanes)
        sets = {lane.shards.source.label: lane.shards for lane in self.lanes}
        return [
            f"{label}: {len(shards.shards)} shards, caption from {shards.source.caption!r}, "
            f"where {shards.source.where or 'true'}, {counts[label] / len(self.lanes):.0%} of every batch"
            for label, shards in sets.items()
        ]


def open_training(options: TrainOptions) -> StreamedSamples:
    """Find the shards of all sources of `options.stream` and look at the first samples of each.

    Raises:
        FileNotFoundError: when a source has no shards.
        ValueError: when none of its first samples can be used, or its condition does not fit.
    """
    stream, batch_size = options.stream, options.batch_size
    sets = [open_source(source, stream, wanted_fields(options.augmentation)) for source in stream.sources]
    n_lanes = math.gcd(stream.lanes, batch_size)
    if n_lanes != stream.lanes:
        logger.info("reading on %d lanes: %d do not divide a batch of %d", n_lanes, stream.lanes, batch_size)
    lanes = lay_lanes(sets, n_lanes, seed=options.seed, window=stream.window, epoch=None)
    training = StreamedSamples(lanes, batch_size)
    for line in training.description():
        logger.info("streaming %s", line)
    return training


def held_out(
    source: Source | None, options: StreamOptions, preparation: Preparation, tokenizer: TextTokenizer, *, count: int
) -> list[Batch]:
    """The first samples of a source, ready for the model and kept in memory: about 150 kB each at 224 pixels.

    Args:
        source: where from; None: no samples.
        options: lanes, and how to retry.
        preparation: what is made of a sample.
        tokenizer: of the model.
        count: how many, fewer when the source has fewer.
    Returns:
        Batches of at most 256.
    """
    if source is None:
        return []
    opened = open_source(source, options, preparation.columns)
    samples = LaneStream(lay_lanes([opened], options.lanes, seed=0, window=options.window, epoch=0))
    items: list[tuple[torch.Tensor, str, list[str]]] = []
    for sample in samples:
        try:
            items.append((*preparation.varied(preparation.decoded(sample), Draw(0, len(items))), []))
        except DataError as error:
            logger.warning("left out of validation: %s: %s", sample.key, error)
        if len(items) == count:
            break
    return [Collate(tokenizer)(items[first : first + _AT_ONCE]) for first in range(0, len(items), _AT_ONCE)]


@dataclass(frozen=True, slots=True)
class _Prepare:
    preparation: Preparation

    def __call__(self, sample: Sample, slot: Slot) -> tuple[torch.Tensor, str, list[str]]:
        return *self.preparation.varied(self.preparation.decoded(sample), Draw(0, slot.index)), []


def _in_metric(label: str) -> str:
    return _NOT_IN_METRIC.sub("_", label).strip("._ ") or "source"


def _as_batch(part: Part[Batch]) -> Batch:
    return Batch(part.made.images, part.made.tokens, part.skipped, part.states, part.tally)
