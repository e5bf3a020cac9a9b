from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from biomedica_kedro.benchmark.encode import TaskEmbeddings
from biomedica_kedro.benchmark.probes import ProbeOptions, probe_rows
from biomedica_kedro.benchmark.scores import Subject
from biomedica_kedro.benchmark.task import Kind, Task

SUBJECT = Subject(model_id="m", task="colors", domain="paint", synthetic=False, dataset_digest="d", seed=0)
OPTIONS = ProbeOptions(penalties=(0.01, 0.1), shots=(1, 8), repeats=2, n_resamples=100, n_resamples_ranked=50)


def _embedded(label: np.ndarray, image: np.ndarray) -> TaskEmbeddings:
    n = len(label)
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    return TaskEmbeddings(
        sample_ids=[str(row) for row in range(n)], images=image.astype(np.float32), labels=label,
        multilabel=np.zeros((n, 0), np.int64), questions=[()] * n, captions=[""] * n, groups=np.full(n, ""),
        splits=np.full(n, "test"), texts={}, blank=np.zeros(image.shape[1], np.float32), logit_scale=1.0,
    )  # fmt: skip


def _values(rows: list[dict], metric: str) -> dict[str, float]:
    return {f"{row['protocol']}{row['detail']}": row["value"] for row in rows if row["metric"] == metric}


LABELS = np.tile(np.arange(3), 20)


def test_separable_vectors_are_learned_from_folds_and_from_few_shots(color_task: Task) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (60, 8))
    rows = probe_rows(color_task, _embedded(LABELS, np.eye(8)[LABELS] + noise), SUBJECT, OPTIONS)
    accuracy = _values(rows, "accuracy")
    assert accuracy["linear_probe"] == accuracy["knn"] == accuracy["few_shotk8"] == 1.0


def test_noise_stays_near_chance(color_task: Task) -> None:
    image = np.random.default_rng(1).normal(size=(300, 8))
    rows = probe_rows(color_task, _embedded(np.tile(np.arange(3), 100), image), SUBJECT, OPTIONS)
    assert _values(rows, "balanced_accuracy")["linear_probe"] == pytest.approx(1 / 3, abs=0.1)


def test_folds_never_share_a_group(color_task: Task) -> None:
    """Each group has a direction of its own and a label by chance: only a leak could learn it."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(60), 5)
    image = rng.normal(size=(60, 64))[group]
    label = rng.permutation(np.tile(np.arange(3), 20))[group]
    leaking = _embedded(label, image)
    grouped = dataclasses.replace(leaking, groups=group.astype(str))
    options = OPTIONS.model_copy(update={"shots": (60,)})
    scores = [_values(probe_rows(color_task, each, SUBJECT, options), "accuracy") for each in (leaking, grouped)]
    for protocol in ("knn", "few_shotk60"):
        assert scores[0][protocol] > 0.9
        assert scores[1][protocol] < 0.5


def test_folds_that_choose_the_penalty_never_share_a_group(color_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is the image's first number, so that a fold's rows tell their groups."""
    shared: list[set[float]] = []

    class Watched(GridSearchCV):
        def fit(self, X: np.ndarray, y: np.ndarray) -> Watched:
            shared.extend(set(X[fitted, 0]) & set(X[rest, 0]) for fitted, rest in self.cv)
            return super().fit(X, y)

    monkeypatch.setattr("sklearn.model_selection.GridSearchCV", Watched)
    group = np.repeat(np.arange(12), 5)
    embedded = dataclasses.replace(
        _embedded(group % 3, np.eye(12)[group]), groups=group.astype(str), images=np.eye(12, dtype=np.float32)[group]
    )
    embedded.images[:, 0] = group / 100
    probe_rows(color_task, embedded, SUBJECT, OPTIONS)
    assert len(shared) >= 3
    assert not any(shared)


def test_own_train_split_is_the_only_one_fitted(color_task: Task) -> None:
    embedded = dataclasses.replace(
        _embedded(LABELS, np.eye(8)[LABELS]), splits=np.where(np.arange(60) < 30, "train", "test")
    )
    rows = probe_rows(color_task, embedded, SUBJECT, OPTIONS)
    assert {row["n"] for row in rows if row["metric"] == "accuracy"} == {30}


def test_tasks_without_single_classes_are_not_probed(color_task: Task) -> None:
    task = color_task.model_copy(update={"kind": Kind.MULTILABEL})
    assert probe_rows(task, _embedded(LABELS, np.eye(8)[LABELS]), SUBJECT, OPTIONS) == []
