"""Groups of images that are the same, exactly (sha256) or nearly (perceptual hash and embedding both say so).

The 64 bits of a perceptual hash are cut into blocks. Three bits touch at most three blocks, so two hashes that differ
in so many agree in all blocks but three: candidates share such a band of blocks, and every pair is compared. The band
grows with the number of images (one of 4 blocks: 16 bits; two of 5: 25 bits), so that few share one by chance. Where
many do all the same, as blank pictures, only those next to each other in hash order are compared, and that is told.
The embeddings must agree too, since many plots share a hash.
Memory: see benchmarks/driver_memory.py, plus the embeddings of the candidates.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, pairwise

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

logger = logging.getLogger(__name__)

_HASH_BITS = 64
_WIDEST = 3  # bits that may differ
_SHARED_BY_CHANCE = 16  # images that may share a band by chance before bands are made wider
_NEIGHBORS = 8  # images compared with each in a crowded band
_COMPARED_AT_ONCE = 1 << 22
Pairs = npt.NDArray[np.int64]
Vectors = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""Embeddings of images by position, float32 [n, D]."""


class DuplicateOptions(Options):
    """When two images count as the same.

    Attributes:
        max_hash_distance: bits in which the perceptual hashes may differ; more than 3 would need other candidates.
        min_similarity: cosine of the embeddings.
        max_bucket: images beyond which a band is crowded: of these only neighbors in hash order are compared.
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
    exact = _numbered(contents)[order]
    del contents
    known = np.flatnonzero(is_hashed[order])
    hashes = hashes[order[known]]
    edges = [_chains(exact), _near_pairs(known, hashes, order, vectors, options)]
    del known, hashes, is_hashed
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
) -> tuple[pa.ChunkedArray, npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Keys, the first 128 bits of the digests of the bytes (N x 2), perceptual hashes, and which images have one."""
    keys: list[pa.Array] = [pa.array([], pa.string())]
    contents = [np.zeros((0, 2), dtype=np.uint64)]
    hashes = [np.zeros(0, dtype=np.uint64)]
    is_hashed = [np.zeros(0, dtype=np.bool_)]
    for table in images:
        keys += table["key"].chunks
        contents.append(_numbers([_leading(text) for text in table["sha256"].to_pylist()]).reshape(-1, 2))
        texts = table["phash"].to_pylist()
        hashes.append(_numbers([(text or "0").zfill(_HASH_BITS // 4) for text in texts]))
        is_hashed.append(np.array([bool(text) for text in texts], dtype=np.bool_))
    return pa.chunked_array(keys), np.concatenate(contents), np.concatenate(hashes), np.concatenate(is_hashed)


def _leading(digest: str) -> str:
    """128 bits of a digest in hexadecimal."""
    return digest[:32] if len(digest) >= 32 else hashlib.sha256(digest.encode()).hexdigest()[:32]


def _numbers(hexadecimal: list[str]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex("".join(hexadecimal)), dtype=">u8").astype(np.uint64)


def _numbered(contents_N2: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """A number for each distinct row: int64 [N]."""
    order = np.lexsort((contents_N2[:, 1], contents_N2[:, 0]))
    number = np.zeros(len(order), dtype=np.int64)
    differs = np.zeros(len(order), dtype=np.bool_)
    for column in range(2):
        values = contents_N2[order, column]
        differs[1:] |= values[1:] != values[:-1]
    number[order] = np.cumsum(differs)
    return number


def _chains(values: npt.NDArray[np.int64]) -> Pairs:
    """Pairs (i, j) that link equal values in a chain: int64 [2, P]."""
    order = np.argsort(values, kind="stable")
    values = values[order]
    equal = np.flatnonzero(values[1:] == values[:-1])
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
    left, right = _close_pairs(hashes, options)
    a, b = known[left], known[right]
    for start in range(0, len(a), 1 << 14):
        part = slice(start, start + (1 << 14))
        alike = _cosines(vectors(order[a[part]]), vectors(order[b[part]])) >= options.min_similarity
        found.append(np.stack([a[part][alike], b[part][alike]]))
    return np.concatenate(found, axis=1)


def _close_pairs(hashes: npt.NDArray[np.uint64], options: DuplicateOptions) -> Pairs:
    """Pairs of positions whose hashes differ in at most `max_hash_distance` bits, each once: int64 [2, P]."""
    n = len(hashes)
    pairs = np.zeros(0, dtype=np.int64)
    crowded = np.zeros(n, dtype=np.bool_)
    for band in _bands(n) if n else ():
        close = [np.zeros(0, dtype=np.int64)]
        for left, right in _candidates(hashes, band, options.max_bucket, crowded):
            is_close = np.bitwise_count(hashes[left] ^ hashes[right]) <= options.max_hash_distance
            a, b = left[is_close], right[is_close]
            close.append(np.minimum(a, b) * n + np.maximum(a, b))
        pairs = np.union1d(pairs, np.concatenate(close))
    if crowded.any():
        logger.warning(
            "%d of %d images share a part of their perceptual hash with more than %d others: of these only neighbors "
            "in hash order were compared, near copies among them may be missed (group_duplicates.max_bucket)",
            crowded.sum(), n, options.max_bucket,
        )  # fmt: skip
    return np.stack([pairs // max(n, 1), pairs % max(n, 1)])


def _bands(n_images: int) -> Iterator[np.uint64]:
    """Masks of the bits two hashes share in some band if they differ in three bits at most; wider for more images."""
    n_blocks = _WIDEST + 1
    while n_images > _SHARED_BY_CHANCE << ((n_blocks - _WIDEST) * (_HASH_BITS // n_blocks)):
        n_blocks += 1
    edges = [_HASH_BITS * block // n_blocks for block in range(n_blocks + 1)]
    blocks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    for chosen in combinations(blocks, n_blocks - _WIDEST):
        yield np.uint64(sum(chosen))


def _candidates(
    hashes: npt.NDArray[np.uint64], band: np.uint64, max_bucket: int, crowded: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of positions whose hashes agree in a band; in crowded ones only those that follow each other in hash order.

    Args:
        hashes: of all images.
        band: mask.
        max_bucket: see `DuplicateOptions`.
        crowded: positions in crowded bands are marked there.
    """
    order = np.lexsort((hashes, hashes & band))
    values = hashes[order] & band
    is_last = np.append(values[1:] != values[:-1], True)
    sizes = np.diff(np.flatnonzero(is_last), prepend=-1).astype(np.int32)
    is_crowded = np.repeat(sizes > max_bucket, sizes)
    crowded[order[is_crowded]] = True
    reach = np.repeat(sizes, sizes)
    reach[is_crowded] = min(_NEIGHBORS, max_bucket)
    del sizes, is_crowded
    alive = np.flatnonzero(~is_last)  # the first of pairs that are `step` apart
    step = 1
    while len(alive):
        for start in range(0, len(alive), _COMPARED_AT_ONCE):
            some = alive[start : start + _COMPARED_AT_ONCE]
            yield order[some], order[some + step]
        step += 1
        alive = alive[(alive + step < len(order)) & (reach[alive] >= step)]
        alive = alive[values[alive] == values[np.minimum(alive + step, len(order) - 1)]]


def _cosines(a_ND: npt.NDArray[np.float32], b_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    dots = np.einsum("nd,nd->n", a_ND, b_ND)
    cosines: npt.NDArray[np.float32] = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    return cosines
