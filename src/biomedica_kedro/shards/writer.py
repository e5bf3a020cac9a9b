"""Write samples into a WebDataset shard: a plain tar, the same bytes for the same samples."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import orjson

from biomedica_kedro.shards.places import SUFFIX as SUFFIX
from biomedica_kedro.shards.samples import Place as Place
from biomedica_kedro.shards.samples import Sample, check_names
from biomedica_kedro.shards.targets import atomic_target
from biomedica_kedro.stages.tar import END, header_of, padding_of


class Writable(Protocol):
    """What a shard is written to."""

    def write(self, content: bytes, /) -> int:
        """Append bytes."""
        ...


class ShardWriter:
    """Append samples to an open binary file; closing the block writes the end of the tar.

    Attributes:
        n_bytes: bytes written so far.
        checksum: CRC-32 of the last sample's run of members.
        places: one entry per sample, in order.
    """

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._keys: set[str] = set()
        self.n_bytes = 0
        self.checksum = 0
        self.places: list[Place] = []

    def add(self, sample: Sample) -> Place:
        """Append one sample; see `add_encoded`."""
        record = orjson.dumps(sample.record)
        return self.add_encoded(sample.key, {sample.extension: sample.image}, sample.caption.encode(), record)

    def add_encoded(self, key: str, image: dict[str, bytes], caption: bytes, record: bytes) -> Place:
        """Append one sample whose members are encoded already.

        Args:
            key: the sample's key.
            image: the image's bytes by its extension; one entry.
            caption: UTF-8 text.
            record: JSON.
        Raises:
            ValueError: when the key is in the shard already, or a name is not allowed.
        """
        ((extension, content),) = image.items()
        check_names(key, extension)
        if key in self._keys:
            raise ValueError(f"sample key {key!r} is in the shard already: keys must be unique")
        self._keys.add(key)
        offset, self.checksum = self.n_bytes, 0
        for suffix, member in ((extension, content), ("txt", caption), ("json", record)):
            self._write(header_of(f"{key}.{suffix}", len(member)))
            self._write(member)
            self._write(padding_of(len(member)))
        place = Place(key, offset, self.n_bytes - offset)
        self.places.append(place)
        return place

    def finish(self) -> None:
        """Write the end of the tar."""
        self._write(END)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self.n_bytes += len(content)
        self.checksum = zlib.crc32(content, self.checksum)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()


def write_shard(target: Path | str | BinaryIO, samples: Iterable[Sample]) -> list[Place]:
    """Write a shard.

    Args:
        target: a path or any URL of fsspec, under which the shard appears only when it is complete; or a file opened
            for writing.
        samples: what goes in, in order.
    Returns:
        For each sample its key, and the offset and number of bytes of its run of members.
    """
    if isinstance(target, Path | str):
        with atomic_target(str(target)) as file:
            return write_shard(file, samples)
    with ShardWriter(target) as writer:
        for sample in samples:
            writer.add(sample)
    return writer.places
