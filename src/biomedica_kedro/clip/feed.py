"""Samples from the shards to the model's input: read by place, decode, augment, tokenize, collate.

A sample that cannot be read is skipped, counted and named, and its place taken by its neighbour in the manifest, so
that every process keeps batches of one size. What a batch holds depends on (seed, epoch, step) alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from biomedica_kedro.clip.checkpoints import TextTokenizer
from biomedica_kedro.clip.config import AugmentationOptions, FeedOptions, TextSource
from biomedica_kedro.clip.images import Geometry, decode, jitter, random_square, to_square
from biomedica_kedro.clip.order import Draw, random_for
from biomedica_kedro.clip.text import choose_text
from biomedica_kedro.records import DataError, Split
from biomedica_kedro.shards.reader import Reading, ShardError, parse_sample
from biomedica_kedro.shards.samples import Sample

_NEIGHBOURS_TRIED = 16
_SKIPPED_NAMED = 5
_MENTIONS = "figure_mentions"


class FeedError(Exception):
    """Samples cannot be read at all; says which shard and what to do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input of one process.

    Attributes:
        images: uint8 (N, 3, S, S), channels last in memory.
        tokens: int64 (N, context_length).
        skipped: what was wrong with each sample that could not be read.
    """

    images: torch.Tensor
    tokens: torch.Tensor
    skipped: list[str]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the samples of one split lie: arrays, so that 24 million rows fit in memory.

    Attributes:
        shards: paths of the shards.
        shard: which of `shards` holds the sample.
        offset: first byte of the sample there.
        n_bytes: length of its run of members.
        weight: expected appearances in an epoch.
    """

    shards: list[Path]
    shard: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    n_bytes: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    @classmethod
    def of(cls, manifest: pa.Table, split: Split, shards: Path) -> Places:
        """The samples of a split.

        Args:
            manifest: see `selection.MANIFEST`.
            split: train or validation.
            shards: folder of the tar files.
        """
        rows = manifest.filter(pc.equal(manifest["split"], split.value))
        names = rows["shard"].combine_chunks().dictionary_encode()
        return cls(
            [shards / f"{name}.tar" for name in names.dictionary.to_pylist()],
            names.indices.to_numpy(zero_copy_only=False).astype(np.int32),
            rows["offset"].to_numpy(),
            rows["n_bytes"].to_numpy(),
            rows["weight"].to_numpy().astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(slots=True)
class ShardSamples(Dataset[tuple[torch.Tensor, str, list[str]]]):
    """The samples of a split by place in the manifest; `Draw` decides the augmentation.

    Attributes:
        places: where they lie.
        geometry: the model's preprocessing.
        augmentation: None for validation.
        seed: of the augmentation.
        cache: keep decoded squares in memory.
    """

    places: Places
    geometry: Geometry
    augmentation: AugmentationOptions | None = None
    seed: int = 0
    cache: bool = False
    _kept: dict[int, tuple[torch.Tensor, str, list[str]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, str, list[str]]:
        """uint8 (3, S, S), text, and what was wrong with samples skipped on the way."""
        skipped: list[str] = []
        for neighbour in range(_NEIGHBOURS_TRIED):
            index = (draw.index + neighbour) % len(self.places)
            try:
                image, text = self._sample(index, Draw(draw.epoch, draw.index))
            except (DataError, ShardError, UnicodeDecodeError) as error:
                skipped.append(f"sample {index} ({self._place(index)}): {error}")
            except FileNotFoundError as error:
                raise FeedError(
                    f"shard {error.filename} is missing: run `kedro run --pipelines=serialization` to write it again"
                ) from error
            else:
                return image, text, skipped
        raise FeedError(
            f"{_NEIGHBOURS_TRIED} samples in a row cannot be read, the last {skipped[-1]}: "
            "the shards do not match the manifest; run `kedro run --pipelines=serialization,modeling`"
        )

    def _sample(self, index: int, draw: Draw) -> tuple[torch.Tensor, str]:
        random = random_for(self.seed, draw)
        options = self.augmentation
        cropped = options is not None and options.crop_scale < 1
        if index in self._kept:
            image, caption, mentions = self._kept[index]
        else:
            sample = self._read(index)
            image, caption, mentions = decode(sample.image), sample.caption, _mentions(sample.record)
            if not cropped:
                image = to_square(image, self.geometry)
            if self.cache:
                self._kept[index] = image, caption, mentions
        if options is None:
            return image if not cropped else to_square(image, self.geometry), caption
        if cropped:
            image = random_square(image, self.geometry, options, random)
        return jitter(image, options, random), choose_text(caption, mentions, options.text, random)

    def _read(self, index: int) -> Sample:
        # A record holds its article's text: it is parsed only where the mentions are wanted.
        wanted = self.augmentation is not None and self.augmentation.text.get(TextSource.CAPTION_AND_MENTION, 0) > 0
        places = self.places
        with places.shards[places.shard[index]].open("rb") as file:
            file.seek(places.offset[index])
            return parse_sample(file.read(places.n_bytes[index]), Reading(columns=(_MENTIONS,) if wanted else ()))

    def _place(self, index: int) -> str:
        return f"{self.places.shards[self.places.shard[index]].name} at byte {self.places.offset[index]}"


def _mentions(record: dict[str, Any]) -> list[str]:
    return [str(mention) for mention in record.get(_MENTIONS) or []]


@dataclass(frozen=True, slots=True)
class Collate:
    """Stack samples and tokenize their texts; top-level so that worker processes can be sent it."""

    tokenizer: TextTokenizer

    def __call__(self, samples: Sequence[tuple[torch.Tensor, str, list[str]]]) -> Batch:
        """One batch."""
        images, texts, skipped = zip(*samples, strict=True)
        # Pixel after pixel, as decoding gives them and as convolutions and `normalize` want them.
        batch = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, memory_format=torch.channels_last)
        for place, image in enumerate(images):
            batch[place] = image
        return Batch(batch, self.tokenizer(texts), [message for messages in skipped for message in messages])


@dataclass(slots=True)
class Feed:
    """Iterates batches and measures how long the model waited for them.

    Attributes:
        waited: seconds spent waiting for a batch since `reset`.
        n_skipped: samples that could not be read.
        skipped: messages of the first few of them.
    """

    loader: DataLoader[Any]
    waited: float = 0.0
    n_skipped: int = 0
    skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.loader)
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            self.n_skipped += len(batch.skipped)
            self.skipped += batch.skipped[: max(0, _SKIPPED_NAMED - len(self.skipped))]
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
    workers = {} if options.workers == 0 else {"prefetch_factor": options.prefetch, "worker_init_fn": _one_thread}
    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=options.workers,
        collate_fn=Collate(tokenizer),
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if options.workers else None,
        **workers,  # type: ignore[arg-type]
    )
    return Feed(loader)


def _one_thread(_: int) -> None:
    if get_worker_info() is not None:
        torch.set_num_threads(1)
