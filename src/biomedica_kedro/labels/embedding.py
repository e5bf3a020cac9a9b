"""Embed the images of one batch: read, decode, encode, chunk by chunk; what cannot be decoded becomes a reject.

Memory is bounded by `images_per_forward` decoded images, however large the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field

from biomedica_kedro.batches import BatchFolder, map_items
from biomedica_kedro.labels.encoders import Halves, VisionEncoder
from biomedica_kedro.records import Options, Reject, embedding_schema

Row = Mapping[str, Any]


class EmbedOptions(Options):
    """How images are embedded.

    Attributes:
        images_per_forward: images decoded and given to the encoder at once (2048 on a large GPU).
        decode_threads: threads that decode ahead of the encoder.
    """

    images_per_forward: int = Field(default=64, ge=1)
    decode_threads: int = Field(default=1, ge=1)


def embed_images(
    rows: Sequence[Row], read: Callable[[Row], Image.Image], encoder: VisionEncoder, options: EmbedOptions
) -> tuple[pa.Table, list[Reject]]:
    """Embed images in the order of their rows.

    Args:
        rows: one per image, with `key`.
        read: opens the RGB image of a row; raises `DataError` when it cannot be used.
        encoder: gives float16 vectors.
        options: chunk size and threads.
    Returns:
        Table of key and embedding, and one reject per image that could not be read; together all rows.
    """
    keys: list[str] = []
    vectors: list[Halves] = []
    rejects: list[Reject] = []
    with ThreadPoolExecutor(options.decode_threads) as pool:
        for decoded in _decoded(rows, read, pool, options.images_per_forward):
            pairs, failed = map_items(_image_of, decoded, stage="embed_images", source=lambda pair: pair[0])
            rejects += failed
            if pairs:
                keys += [key for key, _ in pairs]
                vectors.append(encoder.encode([image for _, image in pairs]))
    if not vectors:
        empty = encoder.encode([Image.new("RGB", (16, 16), "white")])[:0]
        vectors.append(empty)
    return embedding_table(keys, np.concatenate(vectors)), rejects


def embedding_table(keys: Sequence[str], vectors_ND: npt.NDArray[Any]) -> pa.Table:
    """Table of `image_embeddings` from float vectors."""
    n_dimensions = vectors_ND.shape[1]
    flat = pa.array(np.ascontiguousarray(vectors_ND, dtype=np.float16).ravel())
    values = pa.FixedSizeListArray.from_arrays(flat, n_dimensions)
    return pa.table([pa.array(keys, pa.string()), values], schema=embedding_schema(n_dimensions))


def vectors_of(column: pa.ChunkedArray | pa.Array) -> Halves:
    """The vectors of an `embedding` column as float16 [N, D], without a copy where Arrow allows it."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    flat: Halves = array.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, array.type.list_size)


def stream_vectors(embeddings: BatchFolder, batches: Sequence[str], rows_per_chunk: int) -> Iterator[Halves]:
    """Vectors of some batches, in pieces of at most `rows_per_chunk` rows: bounded memory."""
    import pyarrow.parquet as pq

    for batch in batches:
        with pq.ParquetFile(embeddings.file(batch), page_checksum_verification=True) as file:
            for piece in file.iter_batches(batch_size=rows_per_chunk, columns=["embedding"]):
                if piece.num_rows:
                    yield vectors_of(piece.column(0))


_Decoding = tuple[str, Future[Image.Image]]


def _decoded(
    rows: Sequence[Row], read: Callable[[Row], Image.Image], pool: ThreadPoolExecutor, size: int
) -> Iterator[list[_Decoding]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        yield [(row["key"], pool.submit(read, row)) for row in chunk]


def _image_of(decoding: _Decoding) -> tuple[str, Image.Image]:
    key, image = decoding
    return key, image.result()


class VectorStore:
    """All embeddings in a file of their own, so that any few of them are read without the rest."""

    def __init__(self, embeddings: BatchFolder, folder: Path) -> None:
        import pyarrow.parquet as pq

        names = embeddings.names()
        counts = [pq.read_metadata(embeddings.file(name)).num_rows for name in names]
        n_dimensions = pq.read_schema(embeddings.file(names[0])).field("embedding").type.list_size
        # One row of zeros at the end stands for images without an embedding.
        self._vectors = np.memmap(
            folder / "vectors.f16", dtype=np.float16, mode="w+", shape=(sum(counts) + 1, n_dimensions)
        )
        self._embeddings = embeddings
        self._starts = dict(zip(names, np.cumsum([0, *counts]).tolist(), strict=False))
        for name in names:
            vectors = vectors_of(embeddings.table(name, ["embedding"])["embedding"])
            self._vectors[self._starts[name] : self._starts[name] + len(vectors)] = vectors

    def lookup(
        self, batches: Iterable[tuple[str, pa.ChunkedArray]]
    ) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
        """Gives embeddings by position in the keys of some batches: float32 [n, D], zeros where an image has none.

        Args:
            batches: name of a batch and keys of images that are in it or nowhere.
        """
        places = [np.zeros(0, dtype=np.int64)]
        for name, keys in batches:
            row = np.full(len(keys), -1, dtype=np.int64)
            if name in self._starts:
                there = self._embeddings.table(name, ["key"])["key"]
                row = pc.fill_null(pc.index_in(keys, value_set=there), -1).to_numpy().astype(np.int64)
            places.append(np.where(row < 0, len(self._vectors) - 1, row + self._starts.get(name, 0)))
        place = np.concatenate(places)
        return lambda positions: self._vectors[place[positions]].astype(np.float32)
