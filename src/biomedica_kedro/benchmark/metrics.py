"""Metrics of classification, each over many weightings of the same rows at once, for a bootstrap in one call.

Shapes: N rows, K classes, R resamples. A prediction of -1 (no single best option) is never right. Values equal
scikit-learn's to 1e-12, which a test asserts; scikit-learn takes one weighting a call and is 100 times slower here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
RankMetric: TypeAlias = Callable[[Floats, npt.NDArray[np.bool_], Floats], Floats]

ECE_BINS = 15


def confusion_cells(label_N: Integers, predicted_N: Integers, n_classes: int) -> Integers:
    """Cell of the confusion matrix each row falls in; the last column, K, takes rows without a prediction."""
    return label_N * (n_classes + 1) + np.where(predicted_N < 0, n_classes, predicted_N)


def accuracy(confusion_RKP: Floats) -> Floats:
    """Share of rows on the diagonal."""
    right = np.trace(confusion_RKP, axis1=1, axis2=2)
    return np.asarray(right / confusion_RKP.sum((1, 2)))


def recalls(confusion_RKP: Floats) -> Floats:
    """Recall of each class, R x K; NaN for a class without rows."""
    total = confusion_RKP.sum(2)
    right = np.diagonal(confusion_RKP, axis1=1, axis2=2)
    return ratio(right, total)


def balanced_accuracy(confusion_RKP: Floats) -> Floats:
    """Mean recall over the classes that have rows."""
    return np.asarray(np.nanmean(recalls(confusion_RKP), axis=1))


def macro_f1(confusion_RKP: Floats) -> Floats:
    """Mean F1 over the classes that occur among labels or predictions."""
    right = np.diagonal(confusion_RKP, axis1=1, axis2=2)
    total = confusion_RKP.sum(2) + confusion_RKP[:, :, :-1].sum(1)
    scores = ratio(2 * right, total)
    return np.asarray(np.nanmean(scores, axis=1))


def quadratic_kappa(confusion_RKP: Floats) -> Floats:
    """Agreement beyond chance with quadratic penalties, for ordered classes; no prediction costs the most."""
    n_classes = confusion_RKP.shape[1]
    distance = np.subtract.outer(np.arange(n_classes), np.arange(n_classes)) ** 2.0
    farthest = distance.max(1, keepdims=True)
    penalty = np.hstack([distance, farthest])
    expected = confusion_RKP.sum(2)[:, :, None] * confusion_RKP.sum(1)[:, None, :]
    expected /= confusion_RKP.sum((1, 2))[:, None, None]
    chance = (expected * penalty).sum((1, 2))
    seen = (confusion_RKP * penalty).sum((1, 2))
    return np.asarray(1 - ratio(seen, chance))


def above_chance(value: float, chance: float) -> float:
    """Accuracy on the scale where guessing is 0 and perfect is 1."""
    return (value - chance) / (1 - chance)


def auroc(score_N: Floats, positive_N: npt.NDArray[np.bool_], weight_RN: Floats) -> Floats:
    """Area under the ROC curve of one class against the rest; NaN where one side has no weight."""
    positive_RS, negative_RS = _steps(score_N, positive_N, weight_RN)
    below = np.cumsum(negative_RS[:, ::-1], axis=1)[:, ::-1] - negative_RS
    area = (positive_RS * (below + 0.5 * negative_RS)).sum(1)
    pairs = positive_RS.sum(1) * negative_RS.sum(1)
    return ratio(area, pairs)


def average_precision(score_N: Floats, positive_N: npt.NDArray[np.bool_], weight_RN: Floats) -> Floats:
    """Average precision of one class: sum of precision times gain in recall; NaN without positives."""
    positive_RS, negative_RS = _steps(score_N, positive_N, weight_RN)
    found = np.cumsum(positive_RS, axis=1)
    shown = found + np.cumsum(negative_RS, axis=1)
    precision = np.divide(found, shown, out=np.zeros_like(found), where=shown > 0)
    total = positive_RS.sum(1)
    return ratio((positive_RS * precision).sum(1), total)


def expected_calibration_error(confidence_N: Floats, correct_N: Floats, weight_RN: Floats) -> Floats:
    """Mean distance between confidence and accuracy over 15 equal bins of confidence, weighted by their rows."""
    bins = np.clip(np.ceil(confidence_N * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    member_NB = np.eye(ECE_BINS)[bins]
    gap_RB = np.abs(weight_RN @ (member_NB * (confidence_N - correct_N)[:, None]))
    return np.asarray(gap_RB.sum(1) / weight_RN.sum(1))


def brier_rows(probability_NK: Floats, label_N: Integers) -> Floats:
    """Squared distance of each row's probabilities from the truth, summed over classes (0 to 2)."""
    truth = np.eye(probability_NK.shape[1])[label_N]
    return np.asarray(((probability_NK - truth) ** 2).sum(1))


def weighted_mean(value_N: Floats, weight_RN: Floats) -> Floats:
    """Mean over rows under each weighting."""
    return np.asarray(weight_RN @ value_N / weight_RN.sum(1))


def softmax(logit_NK: Floats) -> Floats:
    """Rows to probabilities, in float64."""
    shifted = np.exp(logit_NK - logit_NK.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient; NaN where there is nothing to divide by."""
    out = np.full(np.shape(below), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def log_odds(logit_NK: Floats) -> Floats:
    """Each option's log odds against the others: ordered as its probability, but never rounded to 0 or 1."""
    if logit_NK.shape[1] == 1:
        return np.zeros_like(logit_NK)
    others = np.full_like(logit_NK, -np.inf)
    for at in range(logit_NK.shape[1]):
        for other in range(logit_NK.shape[1]):
            if other != at:
                others[:, at] = np.logaddexp(others[:, at], logit_NK[:, other])
    return np.asarray(logit_NK - others)


def _steps(score_N: Floats, positive_N: npt.NDArray[np.bool_], weight_RN: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and negatives at each distinct score, best score first; R x S each."""
    order = np.argsort(-score_N, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score_N[order]) != 0])
    weights = weight_RN[:, order]
    positives = positive_N[order]
    return (
        np.add.reduceat(weights * positives, starts, axis=1),
        np.add.reduceat(weights * ~positives, starts, axis=1),
    )
