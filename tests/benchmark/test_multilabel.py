from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.encode import TaskEmbeddings
from biomedica_kedro.benchmark.prompts import prompt_sets
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Kind, Task

SUBJECT = Subject(model_id="m", task="colors", domain="paint", synthetic=False, dataset_digest="d", seed=0)
OPTIONS = ScoreOptions(n_resamples_ranked=50)
TRUTH = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1]] * 5)


@pytest.fixture
def findings(color_task: Task) -> Task:
    return color_task.model_copy(update={"kind": Kind.MULTILABEL})


def _embedded(task: Task, images: np.ndarray) -> TaskEmbeddings:
    n = len(images)
    signs = {}
    for strings in prompt_sets(task).values():
        for at, prompts in enumerate(strings):
            axis = np.eye(3, dtype=np.float32)[at // 2] * (1 if at % 2 else -1)
            signs |= dict.fromkeys(prompts, axis)
    return TaskEmbeddings(
        sample_ids=[str(row) for row in range(n)], images=images.astype(np.float32), labels=np.full(n, -1),
        multilabel=TRUTH, questions=[()] * n, captions=[""] * n, groups=np.full(n, ""), splits=np.full(n, "test"),
        texts=signs, blank=np.zeros(3, np.float32), logit_scale=1.0,
    )  # fmt: skip


def _scores(task: Task, images: np.ndarray) -> dict[str, float]:
    rows, _ = classification_rows(task, _embedded(task, images), SUBJECT, OPTIONS)
    return {str(row["metric"]): row["value"] for row in rows if not row["detail"]}


def test_oracle_anti_oracle_and_constant(findings: Task) -> None:
    perfect, worst, constant = 2.0 * TRUTH - 1, 1 - 2.0 * TRUTH, np.zeros(TRUTH.shape)
    assert set(_scores(findings, perfect).values()) == {1.0}
    assert _scores(findings, worst)["accuracy"] == 0.0
    assert _scores(findings, worst)["auroc"] == 0.0
    assert _scores(findings, constant)["balanced_accuracy"] == 0.0
    assert _scores(findings, constant)["auroc"] == 0.5


def test_finding_that_never_occurs_is_left_out(findings: Task) -> None:
    embedded = dataclasses.replace(_embedded(findings, 2.0 * TRUTH - 1), multilabel=TRUTH * [1, 1, 0])
    rows, _ = classification_rows(findings, embedded, SUBJECT, OPTIONS)
    by_finding = {row["detail"]: row["value"] for row in rows if row["metric"] == "finding_auroc"}
    assert by_finding == {"red": 1.0, "green": 1.0, "blue": None}
