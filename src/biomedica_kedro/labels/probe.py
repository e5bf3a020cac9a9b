"""A linear probe: per-image refinement of labels, learned from the confident images of the labeled clusters.

A cluster gives all its images one label; the probe draws the borders between concepts instead of between clusters, so
it corrects images at the rim of their cluster and names images of clusters nobody voted on. It knows only the concepts
the experts named, so its score counts for less the farther an image lies from its cluster (see `propagation`).
"""

# Shapes: N images, C components, L label sets.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float32]
LabelSet = tuple[tuple[str, ...], tuple[str, ...]]
"""Global and local concepts of an image."""

LABEL_PROBE = pa.schema(
    [
        ("primary_labels", pa.list_(pa.string())),
        ("secondary_labels", pa.list_(pa.string())),
        ("weights", pa.list_(pa.float32())),
        ("bias", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class LabelProbe:
    """Multinomial logistic regression over label sets; with fewer than two sets there is nothing to tell apart.

    Attributes:
        labels: the L sets, sorted.
        weights: float32 [L, C].
        bias: float32 [L].
    """

    labels: tuple[LabelSet, ...]
    weights: Floats
    bias: Floats

    @classmethod
    def fit(cls, rows_NC: Floats, labels: Sequence[LabelSet]) -> Self:
        """Learn from projected embeddings and their labels; the same rows give the same probe."""
        from sklearn.linear_model import LogisticRegression

        names = tuple(sorted(set(labels)))
        if len(names) < 2:
            return cls((), np.zeros((0, rows_NC.shape[1]), np.float32), np.zeros(0, np.float32))
        target_N = np.array([names.index(label) for label in labels])
        rows = rows_NC.astype(np.float64)
        scale = float(np.sqrt(rows.var(axis=0).sum())) or 1.0
        model = LogisticRegression(C=100.0, max_iter=1000).fit(rows / scale, target_N)
        weights, bias = model.coef_ / scale, model.intercept_
        if len(names) == 2:  # one row says how much likelier the second is
            weights, bias = np.stack([-weights[0], weights[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
        return cls(names, weights.astype(np.float32), bias.astype(np.float32))

    def read(self, rows_NC: Floats) -> list[tuple[LabelSet, float]]:
        """Likeliest label set of each image and its probability; nothing for a probe that knows nothing."""
        if not self.labels:
            return []
        logits_NL = rows_NC.astype(np.float64) @ self.weights.T + self.bias
        odds_NL = np.exp(logits_NL - logits_NL.max(axis=1, keepdims=True))
        best_N = odds_NL.argmax(axis=1)
        score_N = odds_NL.max(axis=1) / odds_NL.sum(axis=1)
        return [(self.labels[best], float(score)) for best, score in zip(best_N, score_N, strict=True)]

    def table(self) -> pa.Table:
        """One row per label set."""
        primary, secondary = zip(*self.labels, strict=True) if self.labels else ((), ())
        return pa.table([primary, secondary, list(self.weights), self.bias], schema=LABEL_PROBE)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """The probe that `table` wrote down."""
        rows = table.to_pylist()
        labels = tuple((tuple(row["primary_labels"]), tuple(row["secondary_labels"])) for row in rows)
        weights = np.array([row["weights"] for row in rows], dtype=np.float32)
        return cls(labels, weights, np.array([row["bias"] for row in rows], dtype=np.float32))
