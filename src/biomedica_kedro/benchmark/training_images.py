"""The images a model was trained on, as the check for copies needs them: fingerprints, pictures, vectors.

Fingerprints come from `dataset_metadata`; a picture is read from its shard, by its place, when it is asked for; vectors
are those of the annotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from biomedica_kedro.images.decode import ANY_SIZE, as_rgb, open_image
from biomedica_kedro.records import Split
from biomedica_kedro.shards.reader import read_sample
from biomedica_kedro.stages import BatchFolder

COLUMNS = ["key", "sha256", "phash", "split", "shard", "offset", "n_bytes"]


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
    def table(self) -> pa.Table:
        """Columns `COLUMNS` of the images trained on."""
        table = self.metadata.table(columns=COLUMNS)
        return table.filter(pc.equal(table["split"], str(Split.TRAIN)))

    @cached_property
    def keys(self) -> list[str]:
        """Keys of the M images."""
        return [str(key) for key in self.table["key"].to_pylist()]

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """Perceptual hashes, M."""
        return np.array([int(text or "0", 16) for text in self.table["phash"].to_pylist()], dtype=np.uint64)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def by_bytes(self) -> dict[str, str]:
        """sha256 of an image's bytes -> its key."""
        return dict(zip(self.table["sha256"].to_pylist(), self.keys, strict=True))

    def hash_of(self, key: str) -> int:
        """The perceptual hash of an image."""
        return int(self.hashes[self._row_of[key]])

    def open(self, key: str) -> Image.Image:
        """The picture, RGB."""
        row = self.table.slice(self._row_of[key], 1).to_pylist()[0]
        sample = read_sample(self.shards.path / row["shard"], row["offset"], row["n_bytes"])
        return as_rgb(open_image(sample.image, ANY_SIZE))

    def vectors(self) -> Iterator[tuple[list[str], npt.NDArray[np.float16]]]:
        """Keys and vectors (float16, not normalised) of the images trained on, a batch at a time."""
        for name in self.embeddings.names() if self.embeddings is not None else ():
            table = self.embeddings.table(name)  # type: ignore[union-attr]
            table = table.filter(pc.is_in(table["key"], value_set=pa.array(self.keys, pa.string())))
            column = table["embedding"].combine_chunks()
            if len(column):
                flat = column.flatten().to_numpy(zero_copy_only=False)
                yield table["key"].to_pylist(), flat.reshape(len(column), -1)
