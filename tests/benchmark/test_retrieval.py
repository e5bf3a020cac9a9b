from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.benchmark.encode import TaskEmbeddings
from biomedica_kedro.benchmark.retrieval import RetrievalOptions, rank_pairs, retrieval_rows
from biomedica_kedro.benchmark.scores import Subject

SUBJECT = Subject(model_id="m", task="pairs", domain="d", synthetic=True, dataset_digest="x", seed=0)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _brute_force(image: np.ndarray, text: np.ndarray, caption: np.ndarray) -> tuple[list[int], list[int]]:
    similarity = image @ text.T
    own = similarity[np.arange(len(image)), caption]
    i2t = [1 + int((np.delete(similarity[row], caption[row]) >= own[row] - 1e-6).sum()) for row in range(len(image))]
    t2i = []
    for row in range(len(image)):
        right = caption == caption[row]
        column = similarity[:, caption[row]]
        t2i.append(1 + int((column[~right] >= column[right].max() - 1e-6).sum()))
    return i2t, t2i


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.integers(2, 40), st.integers(1, 9))
def test_ranks_equal_brute_force(seed: int, n: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    _, caption = np.unique(rng.integers(0, n, n), return_inverse=True)
    image, text = _unit(rng.normal(size=(n, 6))), _unit(rng.normal(size=(caption.max() + 1, 6)))
    ranks = rank_pairs(image, text, caption, chunk=chunk)
    i2t, t2i = _brute_force(image, text, caption)
    assert ranks.i2t.tolist() == i2t
    assert ranks.t2i.tolist() == t2i
    assert (ranks.i2t_exact >= ranks.i2t).all()
    assert (ranks.t2i_exact >= ranks.t2i).all()


def test_shared_caption_is_right_for_all_its_images_but_never_an_exact_pair() -> None:
    image, text = np.eye(3, dtype=np.float32)[[0, 0, 2]], np.eye(3, dtype=np.float32)[[0, 2]]
    ranks = rank_pairs(image, text, np.array([0, 0, 1]))
    assert ranks.i2t.tolist() == [1, 1, 1]
    assert ranks.i2t_exact.tolist() == [2, 2, 1]
    assert ranks.t2i_exact.tolist() == [2, 2, 1]


def test_constant_embeddings_rank_last() -> None:
    same = np.ones((5, 2), dtype=np.float32) / np.sqrt(2)
    assert rank_pairs(same, same, np.arange(5)).i2t.tolist() == [5] * 5


def test_7185_pairs_take_seconds_and_little_memory() -> None:
    rng = np.random.default_rng(0)
    image = _unit(rng.normal(size=(7185, 512)).astype(np.float32))
    tracemalloc.start()
    started = time.process_time()
    ranks = rank_pairs(image, image, np.arange(7185))
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (ranks.i2t == 1).all()
    assert seconds < 5
    assert peak < 500e6


def test_scores_of_a_perfect_model_are_one_with_chance_beside_them() -> None:
    n = 30
    axes = np.eye(n, dtype=np.float32)
    embedded = TaskEmbeddings(
        sample_ids=[str(row) for row in range(n)], images=axes, labels=np.full(n, -1),
        multilabel=np.zeros((n, 0), np.int64), questions=[()] * n, captions=[f"caption {row}" for row in range(n)],
        groups=np.full(n, ""), splits=np.full(n, "test"), texts={f"caption {row}": axes[row] for row in range(n)},
        blank=axes[0], logit_scale=1.0,
    )  # fmt: skip
    rows = {row["metric"]: row for row in retrieval_rows(embedded, SUBJECT, RetrievalOptions(n_resamples=100))}
    for name in ("i2t_R_at_1", "t2i_R_at_1", "i2t_exact_pair_R_at_1", "i2t_mrr"):
        assert rows[name]["value"] == 1.0
    assert rows["i2t_chance_R_at_1"]["value"] == pytest.approx(1 / n)
    assert rows["t2i_median_rank"]["value"] == 1.0
    assert "i2t_R_at_50" not in rows
