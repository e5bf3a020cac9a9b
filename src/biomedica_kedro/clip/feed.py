"""Samples from the shards to the model's input: read, decode, augment, tokenize, collate.

A sample that cannot be read is skipped, counted and named, and its place taken by its neighbour (in the manifest, or in
its lane), so that every process keeps batches of one size. What a batch holds depends on seed and step alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from biomedica_kedro.clip.checkpoints import TextTokenizer
from biomedica_kedro.clip.config import AugmentationOptions, Decode, FeedOptions, TextSource
from biomedica_kedro.clip.images import Geometry, decode, jitter, random_square, to_square
from biomedica_kedro.clip.order import Draw, random_for
from biomedica_kedro.clip.text import choose_text
from biomedica_kedro.records import DataError
from biomedica_kedro.shards.index import Places as Places
from biomedica_kedro.shards.lanes import Tally
from biomedica_kedro.shards.ranges import RunReader
from biomedica_kedro.shards.reader import Reading, ShardError, parse_sample
from biomedica_kedro.shards.samples import Sample

_NEIGHBOURS_TRIED = 16
_SKIPPED_NAMED = 5
_MENTIONS = "figure_mentions"

Decoded = tuple[torch.Tensor, str, list[str]]


class FeedError(Exception):
    """Samples cannot be read at all; says which shard and what to do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input of one process, or a reader's part of it.

    Attributes:
        images: uint8 (N, 3, S, S), channels last in memory.
        tokens: int64 (N, context_length).
        skipped: what was wrong with each sample that could not be read.
        states: where the lanes stand after it, when samples are streamed.
        tally: what became of what was read for it, when samples are streamed.
    """

    images: torch.Tensor
    tokens: torch.Tensor
    skipped: list[str]
    states: dict[int, list[Any]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


def wanted_fields(augmentation: AugmentationOptions | None) -> tuple[str, ...]:
    """Fields of the record that training reads: it holds its article's text, and is parsed only for the mentions."""
    texts = {} if augmentation is None else augmentation.text
    return (_MENTIONS,) if texts.get(TextSource.CAPTION_AND_MENTION, 0) > 0 else ()


@dataclass(frozen=True, slots=True)
class Preparation:
    """From a sample's bytes to the model's square and the text beside it; picklable.

    Attributes:
        geometry: the model's preprocessing.
        augmentation: None for validation.
        seed: of the augmentation.
        how: a JPEG becomes pixels.
    """

    geometry: Geometry
    augmentation: AugmentationOptions | None = None
    seed: int = 0
    how: Decode = Decode.EXACT

    @property
    def columns(self) -> tuple[str, ...]:
        """Fields of the record that are wanted."""
        return wanted_fields(self.augmentation)

    def decoded(self, sample: Sample) -> Decoded:
        """What is the same each time a sample is seen: its pixels, as a square unless crops vary, and its texts.

        Raises:
            DataError: when no decoder can read the image.
        """
        image = decode(sample.image, at_least=self._at_least if self.how is Decode.SCALED else None)
        mentions = [str(mention) for mention in sample.record.get(_MENTIONS) or []]
        return image if self._is_cropped else to_square(image, self.geometry), sample.caption, mentions

    def varied(self, decoded: Decoded, draw: Draw) -> tuple[torch.Tensor, str]:
        """uint8 (3, S, S) and text, as a draw has them."""
        image, caption, mentions = decoded
        options = self.augmentation
        if options is None:
            return image, caption
        random = random_for(self.seed, draw)
        if self._is_cropped:
            image = random_square(image, self.geometry, options, random)
        return jitter(image, options, random), choose_text(caption, mentions, options.text, random)

    @property
    def _at_least(self) -> int:
        """Shortest side from which the smallest crop is still as large as the square."""
        smallest = 1.0 if self.augmentation is None else self.augmentation.crop_scale
        return math.ceil(self.geometry.size / math.sqrt(smallest))

    @property
    def _is_cropped(self) -> bool:
        return self.augmentation is not None and self.augmentation.crop_scale < 1


@dataclass(slots=True)
class ShardSamples(Dataset[tuple[torch.Tensor, str, list[str]]]):
    """The samples of a split by place in the manifest; `Draw` decides the augmentation.

    Attributes:
        places: where they lie.
        preparation: what is made of them.
        cache: keep decoded squares in memory.
    """

    places: Places
    preparation: Preparation
    cache: bool = False
    _kept: dict[int, Decoded] = field(default_factory=dict)
    _runs: RunReader = field(init=False)

    def __post_init__(self) -> None:
        self._runs = RunReader(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, draws: Sequence[Draw]) -> list[tuple[torch.Tensor, str, list[str]]]:
        """A batch; what lies elsewhere than on a local disk is fetched in one call."""
        if self._runs.is_local:
            return [self[draw] for draw in draws]
        wanted = [draw.index for draw in draws if draw.index not in self._kept]
        fetched = dict(zip(wanted, self._runs.read(wanted), strict=True)) if wanted else {}
        return [self._item(draw, fetched.get(draw.index)) for draw in draws]

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, str, list[str]]:
        """uint8 (3, S, S), text, and what was wrong with samples skipped on the way."""
        return self._item(draw, None)

    def _item(self, draw: Draw, run: bytes | None) -> tuple[torch.Tensor, str, list[str]]:
        skipped: list[str] = []
        for neighbour in range(_NEIGHBOURS_TRIED):
            index = (draw.index + neighbour) % len(self.places)
            try:
                decoded = self._decoded(index, run if neighbour == 0 else None)
            except (DataError, ShardError) as error:
                skipped.append(f"sample {index} ({self._runs.where(index)}): {error}")
            except FileNotFoundError as error:
                raise FeedError(
                    f"shard {error.filename or error} is missing: run `kedro run --pipelines=serialization` to write "
                    "it again"
                ) from error
            else:
                return *self.preparation.varied(decoded, draw), skipped
        raise FeedError(
            f"{_NEIGHBOURS_TRIED} samples in a row cannot be read, the last {skipped[-1]}: "
            "the shards do not match the manifest; run `kedro run --pipelines=serialization,modeling`"
        )

    def _decoded(self, index: int, run: bytes | None) -> Decoded:
        if index in self._kept:
            return self._kept[index]
        if run is None:
            (run,) = self._runs.read([index])
        self._runs.check(index, run)
        decoded = self.preparation.decoded(parse_sample(run, Reading(columns=self.preparation.columns)))
        if self.cache:
            self._kept[index] = decoded
        return decoded


@dataclass(frozen=True, slots=True)
class Collate:
    """Stack samples and tokenize their texts; top-level so that worker processes can be sent it."""

    tokenizer: TextTokenizer

    def __call__(self, samples: Sequence[tuple[torch.Tensor, str, list[str]]]) -> Batch:
        """One batch."""
        images, texts, skipped = zip(*samples, strict=True)
        # Pixel after pixel, as decoding gives them and as convolutions and `normalize` want them.
        pixels_NSS3 = np.stack([image.permute(1, 2, 0).numpy() for image in images])
        told = [message for messages in skipped for message in messages]
        return Batch(torch.from_numpy(pixels_NSS3).permute(0, 3, 1, 2), self.tokenizer(texts), told)


def joined(parts: Sequence[Batch]) -> Batch:
    """One batch of what several readers made of it."""
    if len(parts) == 1:
        return parts[0]
    tally = Tally()
    for part in parts:
        tally.add(part.tally)
    return Batch(
        torch.cat([part.images for part in parts]),
        torch.cat([part.tokens for part in parts]),
        [message for part in parts for message in part.skipped],
        {number: state for part in parts for number, state in part.states.items()},
        tally,
    )


def _no_epochs(_: int) -> int:
    return 0


@dataclass(slots=True)
class Feed:
    """Iterates batches and measures how long the model waited for them.

    Attributes:
        loader: gives parts of batches.
        parts: how many make a batch.
        epoch_of: the epoch of a step.
        waited: seconds spent waiting for a batch since `reset`.
        n_skipped: samples that could not be read.
        skipped: messages of the first few of them.
        position: where the lanes stand after the batch given last, when samples are streamed.
        tally: what became of what was read so far, when samples are streamed.
    """

    loader: DataLoader[Any]
    parts: int = 1
    epoch_of: Callable[[int], int] = _no_epochs
    waited: float = 0.0
    n_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    position: dict[int, list[Any]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def __iter__(self) -> Iterator[Batch]:
        items = iter(self.loader)
        while True:
            started = time.perf_counter()
            found = [part for part in (next(items, None) for _ in range(self.parts)) if part is not None]
            batch = joined(found) if found else None
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            self.n_skipped += len(batch.skipped)
            self.skipped += batch.skipped[: max(0, _SKIPPED_NAMED - len(self.skipped))]
            self.position |= batch.states
            self.tally.add(batch.tally)
            yield batch


def feed(
    samples: ShardSamples,
    batches: Sequence[list[Draw]] | Iterator[list[Draw]],
    tokenizer: TextTokenizer,
    options: FeedOptions,
) -> Feed:
    """Batches of draws as the model's input, decoded here or in worker processes.

    Args:
        samples: the split.
        batches: draws of each step, in order.
        tokenizer: of the model.
        options: workers and prefetch.
    """
    return Feed(DataLoader(samples, batch_sampler=batches, collate_fn=Collate(tokenizer), **loading(options)))


def loading(options: FeedOptions) -> dict[str, Any]:
    """Arguments of a `DataLoader`: workers are new processes of one thread each."""
    workers = {} if options.workers == 0 else {"prefetch_factor": options.prefetch, "worker_init_fn": _one_thread}
    return {
        "num_workers": options.workers,
        "pin_memory": torch.cuda.is_available(),
        "multiprocessing_context": "spawn" if options.workers else None,
        **workers,
    }


def _one_thread(_: int) -> None:
    if get_worker_info() is not None:
        torch.set_num_threads(1)
