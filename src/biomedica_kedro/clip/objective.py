"""The contrastive loss of a whole batch and its gradient, also when the batch is computed in pieces.

In pieces: features of all micro-batches are computed without gradient, the loss of the whole batch gives the gradient
of each feature, and each micro-batch is computed again to carry that on to the weights. So the result is the gradient
of the large batch, not an average over small ones (Gao et al. 2021, arXiv 2101.06983).
Shapes: N pairs, E embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from biomedica_kedro.clip.config import Objective

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import ClipModel

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(slots=True)
class Features:
    """What the loss is computed from; `image` and `text` are (N, E), L2-normalized."""

    image: torch.Tensor
    text: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None


class TwoTowers(nn.Module):
    """One forward of both towers, so that data-parallel training sees every weight in one call."""

    def __init__(self, model: ClipModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Image features, text features, logit scale, and the logit bias where the model has one."""
        model = self.model
        features = model.encode_image(images, normalize=True), model.encode_text(tokens, normalize=True)
        bias = getattr(model, "logit_bias", None)
        return (*features, model.logit_scale.exp(), *(() if bias is None else (bias + 0.0,)))


def make_loss(objective: Objective, rank: int = 0, world_size: int = 1) -> nn.Module:
    """open_clip's loss; over several processes features are gathered with their gradient."""
    if objective is Objective.SIGLIP:
        siglip: nn.Module = SigLipLoss(rank=rank, world_size=world_size, dist_impl="gather")
        return siglip
    softmax: nn.Module = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world_size)
    return softmax


def contrastive_backward(
    towers: nn.Module,
    images: torch.Tensor,
    tokens: torch.Tensor,
    *,
    loss: nn.Module,
    pieces: int = 1,
    autocast: Autocast = nullcontext,
) -> torch.Tensor:
    """Loss of the batch; its gradient is added to the weights.

    Args:
        towers: a `TwoTowers`, or the data-parallel wrapper of one.
        images: (N, 3, S, S).
        tokens: (N, context_length).
        loss: from `make_loss`.
        pieces: micro-batches the batch is computed in; does not change the result.
        autocast: context of the forward pass.
    Returns:
        The loss, a scalar without gradient.
    """
    if pieces == 1:
        with autocast():
            features = _features(towers(images, tokens))
        value = _loss_of(loss, features)
        value.backward()
        return value.detach()
    cuts = list(zip(images.chunk(pieces), tokens.chunk(pieces), strict=True))
    leaves = _cached_features(towers, cuts, autocast)
    value = _loss_of(loss, leaves)
    value.backward()
    _carry_gradients(towers, cuts, leaves, autocast)
    return value.detach()


def _cached_features(towers: nn.Module, cuts: list[tuple[torch.Tensor, torch.Tensor]], autocast: Autocast) -> Features:
    plain = towers.module if isinstance(towers, DistributedDataParallel) else towers
    with torch.no_grad(), autocast():
        parts = [_features(plain(images, tokens)) for images, tokens in cuts]
    bias = parts[0].bias
    return Features(
        torch.cat([part.image for part in parts]).requires_grad_(),
        torch.cat([part.text for part in parts]).requires_grad_(),
        parts[0].scale.detach().clone().requires_grad_(),
        None if bias is None else bias.detach().clone().requires_grad_(),
    )


def _carry_gradients(
    towers: nn.Module, cuts: list[tuple[torch.Tensor, torch.Tensor]], leaves: Features, autocast: Autocast
) -> None:
    sizes = [len(images) for images, _ in cuts]
    image_gradients = _gradient(leaves.image).split(sizes)
    text_gradients = _gradient(leaves.text).split(sizes)
    for place, (images, tokens) in enumerate(cuts):
        is_last = place == len(cuts) - 1
        silent = isinstance(towers, DistributedDataParallel) and not is_last
        with towers.no_sync() if silent else nullcontext():  # type: ignore[operator]
            with autocast():
                part = _features(towers(images, tokens))
            # The scale belongs to the batch, not to its pieces: its gradient is carried once.
            once = 1.0 if is_last else 0.0
            tensors = [part.image, part.text, part.scale]
            gradients = [image_gradients[place], text_gradients[place], _gradient(leaves.scale) * once]
            if part.bias is not None and leaves.bias is not None:
                tensors.append(part.bias)
                gradients.append(_gradient(leaves.bias) * once)
            pairs = [(t, g) for t, g in zip(tensors, gradients, strict=True) if t.requires_grad]
            torch.autograd.backward([t for t, _ in pairs], [g.to(t.dtype) for t, g in pairs])


def _gradient(leaf: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _features(output: tuple[torch.Tensor, ...]) -> Features:
    image_NE, text_NE, scale, *bias = output
    return Features(image_NE.float(), text_NE.float(), scale.float(), bias[0].float() if bias else None)


def _loss_of(loss: nn.Module, features: Features) -> torch.Tensor:
    if isinstance(loss, SigLipLoss):
        value: torch.Tensor = loss(features.image, features.text, features.scale, features.bias)
    else:
        value = loss(features.image, features.text, features.scale, logit_bias=features.bias)
    return value
