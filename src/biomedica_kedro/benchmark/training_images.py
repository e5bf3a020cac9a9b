"""The images a model was trained on, as the check for copies needs them: fingerprints, pictures, vectors.

Fingerprints come from `dataset_metadata` and are kept for the tasks that follow in the same process: a hash and a key
an image, 40 bytes. The rest is asked of the files, for the few images that are nominated; vectors are those of the
annotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from biomedica_kedro.images.decode import ANY_SIZE, as_rgb, open_image
from biomedica_kedro.records import Split
from biomedica_kedro.shards.reader import read_sample
from biomedica_kedro.stages import BatchFolder


@dataclass(frozen=True, slots=True)
class Picture:
    """Where the picture of an image lies.

    Attributes:
        phash: perceptual hash, 0 where there is none.
        shard: file or URL.
        offset: first byte of its members.
        n_bytes: their length.
    """

    phash: int
    shard: str
    offset: int
    n_bytes: int

    def open(self) -> Image.Image:
        """The picture, RGB."""
        return as_rgb(open_image(read_sample(self.shard, self.offset, self.n_bytes).image, ANY_SIZE))


@dataclass(frozen=True)
class TrainingImages:
    """The training split of the shards; the metadata tell of held-out images, too.

    Attributes:
        metadata: `dataset_metadata`.
        shards: `dataset_shards`.
        embeddings: `image_embeddings`, where vectors are wanted.
    """

    metadata: BatchFolder
    shards: BatchFolder
    embeddings: BatchFolder | None = field(default=None)

    @cached_property
    def keys(self) -> pa.ChunkedArray:
        """Keys of the M images."""
        return _fingerprints(self.metadata, self.metadata.digest())[0]

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """Perceptual hashes, M; 0 for an image without one."""
        return _fingerprints(self.metadata, self.metadata.digest())[1]

    def by_bytes(self, sha256: Sequence[str]) -> dict[str, str]:
        """Of those sha256 that an image trained on has, too: the image's key, the last where several have it."""
        found = self._find("sha256", sha256, ["sha256", "key"])
        return {row["sha256"]: row["key"] for row in found}

    def pictures(self, keys: Iterable[str]) -> dict[str, Picture]:
        """Where the pictures of some images lie, by key."""
        found = self._find("key", keys, ["key", "phash", "shard", "offset", "n_bytes"])
        return {
            row["key"]: Picture(
                int(row["phash"] or "0", 16), str(self.shards.path / row["shard"]), row["offset"], row["n_bytes"]
            )
            for row in found
        }

    def vectors(self) -> Iterator[tuple[list[str], npt.NDArray[np.float16]]]:
        """Keys and vectors (float16, not normalised) of the images trained on, a batch at a time."""
        if self.embeddings is None:
            return
        known = np.sort(_numbers(self.keys))
        for name in self.embeddings.names():
            table = self.embeddings.table(name)
            numbers = _numbers(table["key"])
            at = np.minimum(np.searchsorted(known, numbers), max(len(known) - 1, 0))
            table = table.filter(pa.array(known[at] == numbers if len(known) else np.zeros(len(numbers), np.bool_)))
            column = table["embedding"].combine_chunks()
            if len(column):
                flat = column.flatten().to_numpy(zero_copy_only=False)
                yield table["key"].to_pylist(), flat.reshape(len(column), -1)

    def _find(self, column: str, values: Iterable[str], columns: list[str]) -> Iterator[dict[str, Any]]:
        wanted = pa.array(sorted(set(values)), pa.string())
        for name in self.metadata.names() if len(wanted) else ():
            rows = _trained_on(self.metadata, name, columns)
            yield from rows.filter(pc.is_in(rows[column], value_set=wanted)).to_pylist()


@lru_cache(maxsize=1)
def _fingerprints(metadata: BatchFolder, digest: str) -> tuple[pa.ChunkedArray, npt.NDArray[np.uint64]]:
    """Keys and perceptual hashes of the images trained on; the digest tells whether the metadata are still those."""
    keys: list[pa.Array] = []
    hashes = [np.zeros(0, dtype=np.uint64)]
    for name in metadata.names():
        rows = _trained_on(metadata, name, ["key", "phash"])
        keys += rows["key"].chunks
        hashes.append(np.array([int(text or "0", 16) for text in rows["phash"].to_pylist()], dtype=np.uint64))
    return pa.chunked_array(keys, pa.string()), np.concatenate(hashes)


def _trained_on(metadata: BatchFolder, batch: str, columns: list[str]) -> pa.Table:
    table = metadata.table(batch, [*columns, "split"])
    return table.filter(pc.equal(table["split"], str(Split.TRAIN)))


def _numbers(keys: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """64-bit hashes of keys, of which a sorted array takes a tenth of what a set of the keys would."""
    from pandas.util import hash_array

    return np.asarray(hash_array(keys.to_numpy(zero_copy_only=False).astype(object)), dtype=np.uint64)
