"""Which model may become champion: only one that beats the present one on the same samples, by a paired test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biomedica_kedro.benchmark.comparison import SUITE

if TYPE_CHECKING:
    import pandas as pd

UNTRAINED = "untrained"


@dataclass(frozen=True, slots=True)
class PromotionCandidate:
    """A model and whom it beats.

    Attributes:
        model_id: the leading model.
        weights: sha256 of its weights file; empty where it was left out.
        beaten: for every model it beats on the suite's mean: id -> sha256 of the weights, or "untrained".
    """

    model_id: str
    weights: str
    beaten: Mapping[str, str]

    def may_replace(self, champion_weights: str | None) -> bool:
        """Whether the test allows it: the champion is beaten, or there is none and the untrained control is."""
        if champion_weights == self.weights or not self.weights:
            return False
        return (champion_weights or UNTRAINED) in self.beaten.values()


def promotion_candidate(comparison: pd.DataFrame, weights: Mapping[str, str], *, model_id: str) -> PromotionCandidate:
    """Find what a model beats in its paired comparisons.

    Args:
        comparison: of `comparison.compare_predictions`; a win counts only on the mean of a suite, and never beside a
            loss on the mean of the other kind of samples.
        weights: model id -> sha256 of the weights, or "untrained".
        model_id: the model.
    """
    suite = comparison[comparison["task"] == SUITE]
    verdicts: dict[str, set[str]] = {}
    mirrored = {"win": "loss", "loss": "win", "tie": "tie"}
    for row in suite.to_dict("records"):
        if row["model_a"] == model_id:
            verdicts.setdefault(str(row["model_b"]), set()).add(str(row["verdict"]))
        elif row["model_b"] == model_id:
            verdicts.setdefault(str(row["model_a"]), set()).add(mirrored[str(row["verdict"])])
    beaten = {other: weights.get(other, "") for other, seen in verdicts.items() if "win" in seen and "loss" not in seen}
    return PromotionCandidate(model_id, weights.get(model_id, ""), beaten)
