"""Groups of images that are the same, exactly (sha256) or nearly (perceptual hash and embedding both say so).

Candidates share one of the 16-bit bands of their 64-bit perceptual hash, so any two hashes that differ in at most three
bits are compared; the embeddings must agree too, since many plots share a hash.
Memory: some 210 bytes an image, measured on a million (5 GB for 24 million), plus the embeddings of the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from biomedica_kedro.records import Options

DUPLICATE_GROUPS = pa.schema(
    [
        ("key", pa.string()),
        ("group_key", pa.string()),
        ("relation", pa.string()),
        ("group_size", pa.int32()),
        ("is_kept", pa.bool_()),
    ]
)

_CONTENT = "S32"
_BANDS = 4
_BAND_BITS = 16
Pairs = npt.NDArray[np.int64]
Vectors = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""Embeddings of images by position, float32 [n, D]."""


class DuplicateOptions(Options):
    """When two images count as the same.

    Attributes:
        max_hash_distance: bits in which the perceptual hashes may differ; more than 3 would need other candidates.
        min_similarity: cosine of the embeddings.
        max_bucket: images with the same band beyond which only neighbors in hash order are compared.
    """

    max_hash_distance: int = Field(default=3, ge=0, le=3)
    min_similarity: float = Field(default=0.995, ge=0, le=1)
    max_bucket: int = Field(default=256, ge=2)


def find_duplicates(images: Iterable[pa.Table], vectors: Vectors, options: DuplicateOptions) -> pa.Table:
    """Groups of two or more.

    Args:
        images: batches of key (distinct), sha256 of the bytes, and phash, the 64-bit perceptual hash in hexadecimal;
            an image without one takes part in exact comparison only.
        vectors: gives the embeddings of some images by position in `images`; a zero vector is like nothing.
        options: see `DuplicateOptions`.
    Returns:
        One row per image in a group: the group's smallest key, whether the relation to it is exact or near, and
        whether this is the image to keep. Sorted by group and key.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    keys, contents, hashes, is_hashed = _gather(images)
    order = pc.sort_indices(keys).to_numpy().astype(np.int64)
    exact = np.unique(contents, return_inverse=True)[1][order]
    known = np.flatnonzero(is_hashed[order])
    edges = [_chains(exact), _near_pairs(known, hashes[order[known]], order, vectors, options)]
    left, right = np.concatenate(edges, axis=1)
    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(order), len(order)))
    _, group = connected_components(graph, directed=False)
    sizes = np.bincount(group, minlength=1)
    first = np.full(len(sizes), -1, dtype=np.int64)
    first[group[::-1]] = np.arange(len(order))[::-1]
    members = np.flatnonzero(sizes[group] > 1)
    members = members[np.lexsort((members, first[group[members]]))]
    heads = first[group[members]]
    return pa.table(
        {
            "key": keys.take(order[members]),
            "group_key": keys.take(order[heads]),
            "relation": np.where(exact[members] == exact[heads], "exact", "near").astype(object),
            "group_size": sizes[group[members]].astype(np.int32),
            "is_kept": members == heads,
        },
        schema=DUPLICATE_GROUPS,
    )


def _gather(
    images: Iterable[pa.Table],
) -> tuple[pa.ChunkedArray, npt.NDArray[np.bytes_], npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Keys, the first 128 bits of the digests of the bytes, perceptual hashes, and which images have one."""
    keys: list[pa.Array] = [pa.array([], pa.string())]
    contents = [np.zeros(0, dtype=_CONTENT)]
    hashes = [np.zeros(0, dtype=np.uint64)]
    is_hashed = [np.zeros(0, dtype=np.bool_)]
    for table in images:
        keys += table["key"].chunks
        contents.append(np.array(table["sha256"].to_pylist(), dtype=_CONTENT))
        hashes.append(np.array([int(text, 16) if text else 0 for text in table["phash"].to_pylist()], dtype=np.uint64))
        is_hashed.append(np.array([bool(text) for text in table["phash"].to_pylist()], dtype=np.bool_))
    return pa.chunked_array(keys), np.concatenate(contents), np.concatenate(hashes), np.concatenate(is_hashed)


def _chains(values: npt.NDArray[np.int64]) -> Pairs:
    """Pairs (i, j) that link equal values in a chain: int64 [2, P]."""
    order = np.argsort(values, kind="stable")
    equal = np.flatnonzero(values[order][1:] == values[order][:-1])
    return np.stack([order[equal], order[equal + 1]])


def _near_pairs(
    known: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    order: npt.NDArray[np.int64],
    vectors: Vectors,
    options: DuplicateOptions,
) -> Pairs:
    """Pairs of positions in key order; `known` are those that have a hash, `order` maps them to those of `vectors`."""
    found = [np.zeros((2, 0), dtype=np.int64)]
    for left, right in _candidates(hashes, options.max_bucket):
        differing = np.bitwise_count(hashes[left] ^ hashes[right])
        close = differing <= options.max_hash_distance
        a, b = known[left[close]], known[right[close]]
        for start in range(0, len(a), 1 << 14):
            part = slice(start, start + (1 << 14))
            alike = _cosines(vectors(order[a[part]]), vectors(order[b[part]])) >= options.min_similarity
            found.append(np.stack([a[part][alike], b[part][alike]]))
    return np.concatenate(found, axis=1)


def _candidates(hashes: npt.NDArray[np.uint64], max_bucket: int) -> Iterator[tuple[Pairs, Pairs]]:
    """Pairs of positions whose hashes share a band; in crowded bands only hashes next to each other when sorted."""
    for band in range(_BANDS):
        values = (hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)
        order = np.lexsort((hashes, values))
        ends = np.flatnonzero(np.diff(values[order])) + 1
        for bucket in np.split(order, ends):
            reach = len(bucket) - 1 if len(bucket) <= max_bucket else 8
            for step in range(1, reach + 1):
                yield bucket[:-step], bucket[step:]


def _cosines(a_ND: npt.NDArray[np.float32], b_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    dots = np.einsum("nd,nd->n", a_ND, b_ND)
    cosines: npt.NDArray[np.float32] = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    return cosines
