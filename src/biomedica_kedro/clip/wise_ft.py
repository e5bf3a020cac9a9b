"""Between the base model and the trained one: the weights that do best on validation retrieval.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (arXiv 2109.01903). Fine-tuning on a narrow
domain loses some of what the base model knew; a convex combination of both keeps most of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from biomedica_kedro.clip.validation import mean_recall

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Scores of each share of the trained model, and the best share."""

    scores: dict[float, dict[str, float]]
    best: float


def interpolate(base: State, trained: State, alpha: float) -> dict[str, torch.Tensor]:
    """(1 - alpha) base + alpha trained, weight by weight; counters and masks are the trained model's.

    Raises:
        ValueError: when the two are not of one architecture; names the first differences.
    """
    different = sorted(
        name for name in base.keys() | trained.keys()
        if name not in base or name not in trained or base[name].shape != trained[name].shape
    )  # fmt: skip
    if different:
        raise ValueError(f"cannot interpolate models of different architectures; they differ in {different[:5]}")
    return {
        name: torch.lerp(base[name].to(weight), weight, alpha) if weight.is_floating_point() else weight
        for name, weight in trained.items()
    }


def sweep(base: State, trained: State, alphas: Sequence[float], score: Callable[[State], Mapping[str, float]]) -> Sweep:
    """Score each alpha; the best has the highest mean recall at 1, the larger alpha on a tie.

    Args:
        base: weights training started from.
        trained: weights it ended with.
        alphas: shares of the trained model.
        score: validation retrieval of a state dict, see `validation.retrieval`.
    """
    scores = {alpha: dict(score(interpolate(base, trained, alpha))) for alpha in sorted(alphas)}
    return Sweep(scores, max(scores, key=lambda alpha: (mean_recall(scores[alpha]), alpha)))
