from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from biomedica_kedro.benchmark import metrics


def _confusion(label: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    cells = metrics.confusion_cells(label, predicted, k)
    return np.bincount(cells, minlength=k * (k + 1)).reshape(1, k, k + 1).astype(float)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(12, 80))
def test_metrics_equal_scikit_learn(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    label = np.r_[np.arange(k), rng.integers(0, k, n)]
    predicted = np.r_[np.arange(k), rng.integers(0, k, n)]
    logits = np.round(rng.normal(size=(len(label), k)), 1)
    weight = rng.integers(1, 4, len(label)).astype(float)
    confusion = _confusion(label, predicted, k)
    probability = metrics.softmax(logits)
    assert metrics.accuracy(confusion)[0] == pytest.approx(reference.accuracy_score(label, predicted), abs=1e-12)
    expected = reference.balanced_accuracy_score(label, predicted)
    assert metrics.balanced_accuracy(confusion)[0] == pytest.approx(expected, abs=1e-12)
    assert metrics.macro_f1(confusion)[0] == pytest.approx(
        reference.f1_score(label, predicted, average="macro"), abs=1e-12
    )
    kappa = reference.cohen_kappa_score(label, predicted, weights="quadratic")
    assert metrics.quadratic_kappa(confusion)[0] == pytest.approx(kappa, abs=1e-12)
    score, positive = probability[:, 0], label == 0
    area = reference.roc_auc_score(positive, score, sample_weight=weight)
    assert metrics.auroc(score, positive, weight[None])[0] == pytest.approx(area, abs=1e-12)
    precision = reference.average_precision_score(positive, score, sample_weight=weight)
    assert metrics.average_precision(score, positive, weight[None])[0] == pytest.approx(precision, abs=1e-12)
    brier = metrics.weighted_mean(metrics.brier_rows(probability, label), weight[None])[0]
    expected = np.average(((probability - np.eye(k)[label]) ** 2).sum(1), weights=weight)
    assert brier == pytest.approx(expected, abs=1e-12)


def test_log_odds_order_rows_as_probabilities_do() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4))
    probability = metrics.softmax(logits)
    assert np.allclose(metrics.log_odds(logits), np.log(probability / (1 - probability)))


def test_row_without_prediction_is_wrong_in_every_metric() -> None:
    label, predicted = np.array([0, 1]), np.array([0, -1])
    confusion = _confusion(label, predicted, 2)
    assert metrics.accuracy(confusion)[0] == 0.5
    assert metrics.balanced_accuracy(confusion)[0] == 0.5
    assert metrics.macro_f1(confusion)[0] == 0.5


def test_calibration_error_of_a_known_case() -> None:
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.9]), np.array([1.0, 1.0, 0.0, 0.0])
    assert metrics.expected_calibration_error(confidence, correct, np.ones((1, 4)))[0] == pytest.approx(0.4)


def test_undefined_area_is_nan() -> None:
    assert np.isnan(metrics.auroc(np.array([1.0, 2.0]), np.array([True, True]), np.ones((1, 2)))[0])
