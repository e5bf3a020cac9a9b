"""The loss of a whole batch and its gradient, also when the batch is computed in pieces.

Contrastive for all models; CoCa's (Yu et al. 2022, arXiv 2205.01917) adds that of the captions it writes.

In pieces: features of all micro-batches are computed without gradient, the loss of the whole batch gives the gradient
of each feature, and each micro-batch is computed again to carry that on to the weights. So the result is the gradient
of the large batch, not an average over small ones (Gao et al. 2021, arXiv 2101.06983).
Shapes: N pairs, E embedding, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from biomedica_kedro.clip.config import Objective
from biomedica_kedro.clip.lengths import PADDING, encode_text

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import ClipModel

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(slots=True)
class Features:
    """What the loss is computed from.

    Attributes:
        image: (N, E), L2-normalized.
        text: (N, E), L2-normalized.
        scale: factor of the similarities.
        bias: added to the similarities, where the model has one.
        captions: weighted loss of the captions, summed over their tokens; None for a model that writes none.
    """

    image: torch.Tensor
    text: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None
    captions: torch.Tensor | None

    def loss(self, contrastive: nn.Module, n_tokens: float) -> torch.Tensor:
        """Contrastive loss and mean loss of a caption's token."""
        if isinstance(contrastive, SigLipLoss):
            value: torch.Tensor = contrastive(self.image, self.text, self.scale, self.bias)
        else:
            value = contrastive(self.image, self.text, self.scale, logit_bias=self.bias)
        return value if self.captions is None else value + self.captions / n_tokens


class TwoTowers(nn.Module):
    """One forward of both towers, so that data-parallel training sees every weight in one call.

    Args:
        model: of open_clip.
        captioning: weight of the loss of the captions that a CoCa writes.
    """

    def __init__(self, model: ClipModel, captioning: float = 2.0) -> None:
        super().__init__()
        self.model = model
        self._captioning = captioning
        self.writes = hasattr(model, "text_decoder")

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Image features, text features, logit scale, logit bias and loss of the captions; see `Features`."""
        model = self.model
        bias = getattr(model, "logit_bias", None)
        bias = None if bias is None else bias + 0.0
        if not self.writes:
            features = model.encode_image(images, normalize=True), encode_text(model, tokens)
            return (*features, model.logit_scale.exp(), bias, None)
        found = model(images, tokens)
        captions = F.cross_entropy(
            found["logits"].permute(0, 2, 1), found["labels"], ignore_index=PADDING, reduction="sum"
        )
        return (
            found["image_features"], found["text_features"], found["logit_scale"], bias, self._captioning * captions
        )  # fmt: skip


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

    Over several processes the mean of their losses is that of the whole batch.

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
    n_tokens = _tokens_a_process(tokens) if _plain(towers).writes else 0.0
    if pieces == 1:
        with autocast():
            features = _features(towers(images, tokens))
        value = features.loss(loss, n_tokens)
        value.backward()
        return value.detach()
    cuts = list(zip(images.chunk(pieces), tokens.chunk(pieces), strict=True))
    leaves = _cached_features(towers, cuts, autocast)
    value = leaves.loss(loss, n_tokens)
    value.backward()
    _carry_gradients(towers, cuts, leaves, autocast)
    return value.detach()


def _tokens_a_process(tokens: torch.Tensor) -> float:
    """Tokens to be written in captions, the mean over the processes."""
    count = (tokens[:, 1:] != PADDING).sum()
    if distributed.is_initialized():
        distributed.all_reduce(count)
        return count.item() / distributed.get_world_size()
    return float(count)


def _plain(towers: nn.Module) -> nn.Module:
    return towers.module if isinstance(towers, DistributedDataParallel) else towers


def _cached_features(towers: nn.Module, cuts: list[tuple[torch.Tensor, torch.Tensor]], autocast: Autocast) -> Features:
    with torch.no_grad(), autocast():
        parts = [_features(_plain(towers)(images, tokens)) for images, tokens in cuts]

    def leaf(value: torch.Tensor | None) -> torch.Tensor | None:
        return None if value is None else value.detach().clone().requires_grad_()

    captions = [part.captions for part in parts if part.captions is not None]
    return Features(
        torch.cat([part.image for part in parts]).requires_grad_(),
        torch.cat([part.text for part in parts]).requires_grad_(),
        parts[0].scale.detach().clone().requires_grad_(),
        leaf(parts[0].bias),
        leaf(torch.stack(captions).sum()) if captions else None,
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
            carried = [
                (part.image, image_gradients[place]),
                (part.text, text_gradients[place]),
                (part.scale, _gradient(leaves.scale) * once),
            ]
            if part.bias is not None and leaves.bias is not None:
                carried.append((part.bias, _gradient(leaves.bias) * once))
            if part.captions is not None and leaves.captions is not None:
                carried.append((part.captions, _gradient(leaves.captions)))
            pairs = [(t, g) for t, g in carried if t.requires_grad]
            torch.autograd.backward([t for t, _ in pairs], [g.to(t.dtype) for t, g in pairs])


def _gradient(leaf: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _features(output: tuple[torch.Tensor | None, ...]) -> Features:
    image_NE, text_NE, scale, bias, captions = (value if value is None else value.float() for value in output)
    assert image_NE is not None and text_NE is not None and scale is not None
    return Features(image_NE, text_NE, scale, bias, captions)
