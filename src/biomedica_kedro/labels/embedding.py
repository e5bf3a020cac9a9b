"""Vectors of images: read, decode, encode, chunk by chunk; what cannot be decoded is left to the caller to reject.

Memory is bounded by `images_per_forward` decoded images, however large the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field

from biomedica_kedro.labels.encoders import Halves, VisionEncoder
from biomedica_kedro.records import HOW, Options, embedding_schema
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place

Row = Mapping[str, Any]
Decoded = tuple[str, Image.Image]


class EmbedOptions(Options):
    """How images are embedded.

    Attributes:
        images_per_forward: images decoded and given to the encoder at once (2048 on a large GPU); part of the result,
            since it decides the order in which a model adds up.
        decode_threads: threads that decode ahead of the encoder.
    """

    images_per_forward: int = Field(default=64, ge=1)
    decode_threads: Annotated[int, HOW] = Field(default=1, ge=1)


class Mapper(Protocol):
    """Applies a function to rows and leaves out those on which it fails, as `Batch.map` does."""

    def __call__(
        self, function: Callable[[Row], Decoded], items: Iterable[Row], /, *, source: Callable[[Row], str]
    ) -> list[Decoded]:
        """Results in the order of the items."""
        ...


def encode_images(
    rows: Sequence[Row],
    read: Callable[[Row], Image.Image],
    encoder: VisionEncoder,
    options: EmbedOptions,
    map_rows: Mapper,
) -> pa.Table:
    """Embed images in the order of their rows.

    Args:
        rows: one per image, with a `key` of its own.
        read: opens the RGB image of a row; raises `DataError` when it cannot be used.
        encoder: gives float16 vectors.
        options: chunk size and threads.
        map_rows: reads the rows; what it leaves out gets no vector.
    Returns:
        Table of key and embedding, of the rows that could be read.
    """
    keys: list[str] = []
    vectors: list[Halves] = []
    with ThreadPoolExecutor(options.decode_threads) as pool:
        for start in range(0, len(rows), options.images_per_forward):
            chunk = rows[start : start + options.images_per_forward]
            decode = _ahead(chunk, read, pool) if options.decode_threads > 1 else partial(_decoded, read)
            decoded = map_rows(decode, chunk, source=_key_of)
            if decoded:
                keys += [key for key, _ in decoded]
                vectors.append(encoder.encode([image for _, image in decoded]))
    if not vectors:
        empty = encoder.encode([Image.new("RGB", (16, 16), "white")])[:0]
        vectors.append(empty)
    return embedding_table(keys, np.concatenate(vectors))


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
        with embeddings.file(batch).open("rb") as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            for piece in reader.iter_batches(batch_size=rows_per_chunk, columns=["embedding"]):
                if piece.num_rows:
                    yield vectors_of(piece.column(0))


def _count_rows(path: Place) -> int:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        return int(pq.read_metadata(file).num_rows)


def _key_of(row: Row) -> str:
    return str(row["key"])


def _decoded(read: Callable[[Row], Image.Image], row: Row) -> Decoded:
    return row["key"], read(row)


def _ahead(
    chunk: Sequence[Row], read: Callable[[Row], Image.Image], pool: ThreadPoolExecutor
) -> Callable[[Row], Decoded]:
    """Has the pool decode a chunk; gives a function that waits for the image of a row."""
    futures = {row["key"]: pool.submit(read, row) for row in chunk}
    return lambda row: (row["key"], futures.pop(row["key"]).result())


class VectorStore:
    """All embeddings in a file of their own, so that any few of them are read without the rest."""

    def __init__(self, embeddings: BatchFolder, folder: Path) -> None:
        names = embeddings.names()
        n_dimensions = embeddings.table(names[0], ["embedding"]).field("embedding").type.list_size
        counts = [_count_rows(embeddings.file(name)) for name in names]
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
