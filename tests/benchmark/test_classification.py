from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from biomedica_kedro.benchmark.answers import answer, choose
from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.encode import TaskEmbeddings
from biomedica_kedro.benchmark.prompts import prompt_sets, texts_of
from biomedica_kedro.benchmark.samples import Question
from biomedica_kedro.benchmark.scores import Protocol, ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Kind, Task

SUBJECT = Subject(model_id="m", task="colors", domain="paint", synthetic=False, dataset_digest="d", seed=0)
OPTIONS = ScoreOptions(n_resamples=200, n_resamples_ranked=50)


def _embedded(task: Task, image: np.ndarray, label: np.ndarray, *, texts: np.ndarray | None = None) -> TaskEmbeddings:
    """Texts of class c lie on axis c."""
    sets, vectors = prompt_sets(task), {}
    axes = np.eye(max(3, image.shape[1]), dtype=np.float32)[:, : image.shape[1]] if texts is None else texts
    for options in sets.values():
        for at, strings in enumerate(options):
            vectors |= dict.fromkeys(strings, axes[at])
    assert set(vectors) == set(texts_of(sets))
    n = len(label)
    return TaskEmbeddings(
        sample_ids=[f"s{row}" for row in range(n)], images=image.astype(np.float32), labels=label,
        multilabel=np.zeros((n, 0), np.int64), questions=[()] * n, captions=[""] * n,
        groups=np.full(n, ""), splits=np.full(n, "test"), texts=vectors,
        blank=np.full(image.shape[1], 1 / np.sqrt(image.shape[1]), np.float32), logit_scale=100.0,
    )  # fmt: skip


def _value(rows: list[dict], metric: str, protocol: Protocol = Protocol.ZERO_SHOT, prompt_set: str = "card") -> float:
    found = [
        row["value"]
        for row in rows
        if row["metric"] == metric and row["protocol"] == protocol and row["prompt_set"] in (prompt_set, "")
    ]
    assert len(found) == 1
    return found[0]


LABELS = np.tile(np.arange(3), 20)


def test_oracle_scores_one_everywhere(color_task: Task) -> None:
    rows, predictions = classification_rows(
        color_task, _embedded(color_task, np.eye(3)[LABELS], LABELS), SUBJECT, OPTIONS
    )
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision", "above_chance"):
        assert _value(rows, metric) == 1.0
    assert _value(rows, "median_class_recall") == 1.0
    assert len(predictions) == len(LABELS) * len(prompt_sets(color_task))


def test_anti_oracle_scores_zero(color_task: Task) -> None:
    rows, _ = classification_rows(
        color_task, _embedded(color_task, -np.eye(3)[LABELS] + np.eye(3)[(LABELS + 1) % 3], LABELS), SUBJECT, OPTIONS
    )
    assert _value(rows, "accuracy") == 0.0
    assert _value(rows, "auroc") == 0.0


def test_constant_embeddings_are_ties_and_ties_are_wrong(color_task: Task) -> None:
    same = np.full((len(LABELS), 3), 1 / np.sqrt(3))
    rows, predictions = classification_rows(color_task, _embedded(color_task, same, LABELS), SUBJECT, OPTIONS)
    assert _value(rows, "accuracy") == 0.0
    assert _value(rows, "auroc") == 0.5
    assert {row["predicted"] for row in predictions} == {-1}


def test_baselines_show_the_prompts_preference_and_the_majority(color_task: Task) -> None:
    label = np.array([0] * 6 + [1] * 3 + [2])
    rows, _ = classification_rows(color_task, _embedded(color_task, np.eye(3)[label], label), SUBJECT, OPTIONS)
    assert _value(rows, "accuracy", Protocol.MAJORITY) == 0.6
    assert _value(rows, "accuracy", Protocol.BLANK_IMAGE) == 0.0


def test_order_of_rows_does_not_change_scores(color_task: Task) -> None:
    rng = np.random.default_rng(0)
    embedded = _embedded(color_task, rng.normal(size=(60, 3)), LABELS)
    shuffled = embedded.take(rng.permutation(60))
    first, second = (classification_rows(color_task, part, SUBJECT, OPTIONS)[0] for part in (embedded, shuffled))
    assert [row["value"] for row in first] == pytest.approx([row["value"] for row in second], abs=1e-12, nan_ok=True)


def test_order_of_options_does_not_change_answers() -> None:
    rng = np.random.default_rng(1)
    image, option = rng.normal(size=(40, 5)), rng.normal(size=(4, 5))
    label, order = rng.integers(0, 4, 40), np.array([2, 0, 3, 1])
    plain = answer(image, option, label, 10.0).correct
    shuffled = answer(image, option[order], np.argsort(order)[label], 10.0).correct
    assert (plain == shuffled).all()


def test_two_equal_options_are_no_answer() -> None:
    assert choose(np.array([[0.5, 0.5, 0.1], [0.1, 0.5, 0.2], [0.5, 0.5 - 1e-8, 0.0]])).tolist() == [-1, 1, -1]


def test_closed_questions_bring_their_own_options(color_task: Task) -> None:
    task = color_task.model_copy(update={"kind": Kind.CLOSED_VQA, "classes": ()})
    axes = np.eye(3, dtype=np.float32)
    embedded = dataclasses.replace(
        _embedded(color_task, axes[[0, 1, 2]], np.full(3, -1)),
        questions=[
            (Question("captions", 0, ("b", "a"), 1),), (Question("captions", 0, ("b", "c"), 0),),
            (Question("captions", 0, ("a", "b", "c"), 0),),
        ],
        texts={"a": axes[0], "b": axes[1], "c": axes[2]},
    )  # fmt: skip
    rows, _ = classification_rows(task, embedded, SUBJECT, OPTIONS)
    assert _value(rows, "accuracy") == pytest.approx(2 / 3)
    assert _value(rows, "chance") == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)


def test_wordings_are_averaged_row_by_row_and_other_protocols_stand_apart(color_task: Task) -> None:
    """Row 0 is right in both captions, row 1 in one of two, row 2 has a single caption, which it gets right."""
    axes = np.eye(3, dtype=np.float32)
    embedded = dataclasses.replace(
        _embedded(color_task, axes[[0, 1, 2]], np.full(3, -1)),
        questions=[
            (Question("captions", 0, ("a", "b"), 0), Question("captions", 1, ("c", "a"), 1)),
            (Question("captions", 0, ("a", "b"), 1), Question("captions", 1, ("b", "c"), 1)),
            (Question("captions", 1, ("c", "a", "b"), 0), Question("questions", 0, ("a", "c"), 0)),
        ],
        texts={"a": axes[0], "b": axes[1], "c": axes[2]},
    )  # fmt: skip
    rows, predictions = classification_rows(color_task, embedded, SUBJECT, OPTIONS)
    found = {
        (row["metric"], row["prompt_set"]): (row["value"], row["n"])
        for row in rows
        if row["protocol"] == Protocol.ZERO_SHOT and row["metric"] != "above_chance"
    }
    assert found == {
        ("accuracy", ""): (pytest.approx((1 + 0.5 + 1) / 3), 3),
        ("chance", ""): (pytest.approx((0.5 + 0.5 + 1 / 3) / 3), 3),
        ("accuracy", "captions_0"): (1.0, 2), ("accuracy", "captions_1"): (pytest.approx(2 / 3), 3),
        ("accuracy", "questions"): (0.0, 1), ("chance", "questions"): (0.5, 1),
    }  # fmt: skip
    assert [row["correct"] for row in predictions if row["prompt_set"] == ""] == [1.0, 0.5, 1.0]


def test_grouped_samples_widen_the_interval(color_task: Task) -> None:
    rng = np.random.default_rng(2)
    image = np.repeat(rng.normal(size=(30, 3)), 10, axis=0)
    label = np.repeat(np.tile(np.arange(3), 10), 10)
    plain = _embedded(color_task, image, label)
    grouped = dataclasses.replace(plain, groups=np.repeat(np.arange(30).astype(str), 10))
    widths = []
    for embedded in (plain, grouped):
        rows, _ = classification_rows(color_task, embedded, SUBJECT, OPTIONS)
        row = next(row for row in rows if row["metric"] == "accuracy" and row["prompt_set"] == "card")
        widths.append(row["ci_high"] - row["ci_low"])
    assert widths[1] > 1.5 * widths[0]


def test_empty_class_is_left_out_of_the_mean(color_task: Task) -> None:
    label = np.array([0, 0, 1, 1])
    rows, _ = classification_rows(color_task, _embedded(color_task, np.eye(3)[label], label), SUBJECT, OPTIONS)
    assert _value(rows, "balanced_accuracy") == 1.0
    assert {row["detail"] for row in rows if row["metric"] == "recall"} == {"red", "green"}
