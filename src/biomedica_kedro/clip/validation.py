"""How well a model finds the caption of an image among those of the validation split, and the reverse.

Shapes: N pairs, E embedding; features are L2-normalized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from biomedica_kedro.clip.feed import Batch
from biomedica_kedro.clip.images import Geometry, normalize

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import ClipModel

_RANKS = (1, 5, 10)
_ROWS_AT_ONCE = 1024


def validate(model: ClipModel, batches: Iterable[Batch], geometry: Geometry) -> dict[str, float]:
    """Validation retrieval of a model; empty when there are fewer than two samples."""
    image_NE, text_NE = encode(model, batches, geometry)
    scores = retrieval(image_NE, text_NE) if len(image_NE) > 1 else {}
    return {f"validation/{name}": value for name, value in scores.items()}


def best_step(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The step of the best validation retrieval, the first of equals; None when there is none."""
    recalls = {}
    for row in history:
        scores = {name: value for name, value in row.items() if name.startswith("validation/")}
        if scores:
            recalls[row["step"]] = mean_recall(scores)
    return max(recalls, key=lambda step: (recalls[step], -step)) if recalls else None


def encode(model: ClipModel, batches: Iterable[Batch], geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of all pairs of the batches.

    Returns:
        Image features and text features, float32 (N, E), L2-normalized; (0, 0) of no batches.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    images, texts = [], []
    with torch.no_grad():
        for batch in batches:
            images.append(model.encode_image(normalize(batch.images.to(device), geometry), normalize=True))
            texts.append(model.encode_text(batch.tokens.to(device), normalize=True))
    model.train(was_training)
    if not images:
        return torch.empty(0, 0), torch.empty(0, 0)
    return torch.cat(images).float(), torch.cat(texts).float()


def retrieval(image_NE: torch.Tensor, text_NE: torch.Tensor) -> dict[str, float]:
    """Share of queries whose own pair is among the k nearest; ties count against the model.

    Returns:
        `image_to_text_R_at_k` and `text_to_image_R_at_k` for k in 1, 5, 10.
    """
    scores = {}
    for name, query_NE, target_NE in (("image_to_text", image_NE, text_NE), ("text_to_image", text_NE, image_NE)):
        rank_N = torch.cat([_ranks(query_NE, target_NE, first) for first in range(0, len(query_NE), _ROWS_AT_ONCE)])
        for k in _RANKS:
            scores[f"{name}_R_at_{k}"] = float((rank_N < k).float().mean())
    return scores


def mean_recall(scores: Mapping[str, float]) -> float:
    """One number to choose between models by: recall at 1, averaged over both directions."""
    values = [value for name, value in scores.items() if name.endswith("_R_at_1")]
    return sum(values) / max(1, len(values))


def _ranks(query_NE: torch.Tensor, target_NE: torch.Tensor, first: int) -> torch.Tensor:
    """How many other targets are at least as near as the right one, for the queries from `first`."""
    similarity = query_NE[first : first + _ROWS_AT_ONCE] @ target_NE.T
    right = similarity.diagonal(first)[:, None]
    return (similarity >= right).sum(dim=1) - 1
