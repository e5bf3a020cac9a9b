"""Image-to-text and text-to-image retrieval in chunks: ranks are counted, the N x N matrix is never held.

The rank of a query is 1 + the number of wrong candidates at least as similar as its best right one (ties count
against the model). Right candidates are all those with the same caption; under `exact_pair` only the query's own
partner is, so that a caption shared by two images cannot be told apart and counts as missed.
Shapes: N pairs, U distinct captions, E dimensions. Source: BIOMEDICA section 5 (BioMedFlickr, R@1, R@10, R@100).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import Field

from biomedica_kedro.benchmark.bootstrap import Interval, mean_interval
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings, Vectors
from biomedica_kedro.benchmark.metrics import Floats, Integers
from biomedica_kedro.benchmark.scores import TIE_TOLERANCE, Protocol, Subject, exact
from biomedica_kedro.records import Options

IMAGE_TO_TEXT = "i2t"
TEXT_TO_IMAGE = "t2i"
LENGTHS = (20, 50, 100, 200)  # words of a caption at which one class of length ends and the next begins


class RetrievalOptions(Options):
    """How retrieval is scored.

    Attributes:
        recall_at: the k of R@k; k of the number of candidates or more are left out.
        chunk: images compared with all captions at a time; bounds the memory.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    recall_at: tuple[int, ...] = (1, 5, 10, 50, 100)
    chunk: int = Field(default=1024, ge=1)
    n_resamples: int = Field(default=2000, ge=100)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ranks:
    """Rank of the best right candidate for every query, 1 = first.

    Attributes:
        i2t: of each image's caption among the distinct captions.
        t2i: of each caption's best image among all images.
        i2t_exact: of each image's own caption among all N captions, copies of it counting against.
        t2i_exact: of each caption's own image among all N images.
        n_texts: number of distinct captions.
    """

    i2t: Integers
    t2i: Integers
    i2t_exact: Integers
    t2i_exact: Integers
    n_texts: int


def rank_pairs(image_NE: Vectors, caption_UE: Vectors, caption_N: npt.NDArray[np.intp], *, chunk: int = 1024) -> Ranks:
    """Count ranks both ways in one pass over the similarities.

    Args:
        image_NE: L2-normalised image vectors.
        caption_UE: L2-normalised vectors of the distinct captions.
        caption_N: which caption belongs to each image.
        chunk: images at a time; memory is chunk x U floats.
    """
    n, n_texts = len(image_NE), len(caption_UE)
    own_N = np.einsum("ne,ne->n", image_NE, caption_UE[caption_N])
    best_U = np.full(n_texts, -np.inf, dtype=np.float32)
    np.maximum.at(best_U, caption_N, own_N)
    copies_U = np.bincount(caption_N, minlength=n_texts)
    i2t_N, i2t_exact_N = np.zeros(n, np.int64), np.zeros(n, np.int64)
    above_best_U = np.zeros(n_texts, np.int64)
    t2i_exact_N = np.zeros(n, np.int64)
    shared = {text: np.flatnonzero(caption_N == text) for text in np.flatnonzero(copies_U > 1)}
    for start in range(0, n, chunk):
        similarity_CU = image_NE[start : start + chunk] @ caption_UE.T
        rows = np.arange(len(similarity_CU))
        mine = caption_N[start : start + chunk]
        is_above = similarity_CU >= own_N[start : start + chunk, None] - TIE_TOLERANCE
        i2t_exact_N[start : start + chunk] = is_above @ copies_U
        is_above[rows, mine] = False
        i2t_N[start : start + chunk] = 1 + np.count_nonzero(is_above, axis=1)
        similarity_CU[rows, mine] = -np.inf
        above_best_U += np.count_nonzero(similarity_CU >= best_U - TIE_TOLERANCE, axis=0)
        for text, pairs in shared.items():
            t2i_exact_N[pairs] += np.count_nonzero(similarity_CU[:, text, None] >= own_N[pairs] - TIE_TOLERANCE, axis=0)
    t2i_N = 1 + above_best_U[caption_N]
    t2i_exact_N = np.where(copies_U[caption_N] == 1, t2i_N, t2i_exact_N)
    for pairs in shared.values():
        t2i_exact_N[pairs] += np.count_nonzero(own_N[pairs][:, None] >= own_N[pairs] - TIE_TOLERANCE, axis=0)
    return Ranks(i2t_N, t2i_N, i2t_exact_N, t2i_exact_N, n_texts)


def retrieval_rows(embedded: TaskEmbeddings, subject: Subject, options: RetrievalOptions) -> list[dict[str, object]]:
    """Recall at k, median rank and mean reciprocal rank, both ways, with intervals.

    Args:
        embedded: a retrieval task's embeddings.
        subject: model, task and data the rows are labeled with.
        options: k, chunk and bootstrap.
    """
    test = embedded.part("test")
    if not len(test) or not test.texts:
        return []
    texts, caption_N = np.unique(np.array(test.captions, dtype=object), return_inverse=True)
    caption_UE = np.stack([test.texts[text] for text in texts])
    ranks = rank_pairs(test.images, caption_UE, caption_N, chunk=options.chunk)
    groups = test.independent_groups()
    rows = _direction(IMAGE_TO_TEXT, ranks.i2t, len(texts), groups, subject, options)
    rows += _direction(TEXT_TO_IMAGE, ranks.t2i, len(test), groups, subject, options)
    rows += _by_length(ranks, test, subject, options)
    exact_ranks = {IMAGE_TO_TEXT: ranks.i2t_exact, TEXT_TO_IMAGE: ranks.t2i_exact}
    for direction, rank_N in exact_ranks.items():
        recall = _recall(rank_N, 1, groups, options)
        rows.append(subject.row(f"{direction}_exact_pair_R_at_1", recall, len(test), protocol=Protocol.RETRIEVAL))
    return rows


def _direction(
    direction: str,
    rank_N: Integers,
    n_candidates: int,
    groups: npt.NDArray[np.str_] | None,
    subject: Subject,
    options: RetrievalOptions,
) -> list[dict[str, object]]:
    n = len(rank_N)
    scores: dict[str, Interval] = {
        f"{direction}_R_at_{k}": _recall(rank_N, k, groups, options) for k in options.recall_at if k < n_candidates
    }
    scores[f"{direction}_chance_R_at_1"] = exact(1 / n_candidates)
    scores[f"{direction}_mrr"] = _mean(1 / rank_N, groups, options)
    scores[f"{direction}_median_rank"] = exact(float(np.median(rank_N)))
    return [subject.row(name, value, n, protocol=Protocol.RETRIEVAL) for name, value in scores.items()]


def _by_length(
    ranks: Ranks, test: TaskEmbeddings, subject: Subject, options: RetrievalOptions
) -> Iterator[dict[str, object]]:
    """Recall at 1 of the pairs whose caption has so many words, among all candidates as before."""
    words_N = np.array([len(caption.split()) for caption in test.captions])
    groups = test.independent_groups()
    bounds = [0, *LENGTHS, np.inf]
    for low, high in pairwise(bounds):
        rows = np.flatnonzero((words_N > low) & (words_N <= high))
        if not len(rows) or len(rows) == len(test):
            continue
        words = f"{int(low) + 1} to {int(high)}" if high < np.inf else f"more than {int(low)}"
        for direction, rank_N in {IMAGE_TO_TEXT: ranks.i2t, TEXT_TO_IMAGE: ranks.t2i}.items():
            own = None if groups is None else groups[rows]
            recall = _recall(rank_N[rows], 1, own, options)
            yield subject.row(f"{direction}_R_at_1", recall, len(rows), protocol=Protocol.RETRIEVAL, detail=words)


def _recall(rank_N: Integers, k: int, groups: npt.NDArray[np.str_] | None, options: RetrievalOptions) -> Interval:
    return _mean((rank_N <= k).astype(float), groups, options)


def _mean(value_N: Floats, groups: npt.NDArray[np.str_] | None, options: RetrievalOptions) -> Interval:
    return mean_interval(value_N, group_N=groups, n_resamples=options.n_resamples, seed=options.seed)
