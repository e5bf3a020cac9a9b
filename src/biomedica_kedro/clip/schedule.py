"""Learning rate over steps, and which weights decay: norms, biases, embeddings and scales do not."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import Any

from torch import nn

from biomedica_kedro.clip.config import OptimizerOptions

_BLOCK = re.compile(r"(?:resblocks|blocks|layer|layers|stages)\.?(\d+)")
_TOWERS = ("image", "text")
_NEVER_DECAYED = ("embedding", "pos_embed", "cls_token", "logit_")
_STEMS = (
    "conv1",
    "conv2",
    "conv3",
    "bn1",
    "bn2",
    "bn3",
    "stem",
    "patch_embed",
    "ln_pre",
    "embedding",
    "pos_embed",
    "cls_token",
)


def learning_rate(step: int, steps: int, options: OptimizerOptions) -> float:
    """Learning rate of a step: linear warm-up from near 0, then a cosine down to `final_share` of the peak."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    progress = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return options.learning_rate * (options.final_share + (1 - options.final_share) * cosine)


def parameter_groups(model: nn.Module, options: OptimizerOptions) -> list[dict[str, Any]]:
    """Groups for AdamW, in a fixed order, each with its `share` of the learning rate.

    With `layer_decay` below 1 a layer's share falls with its distance from the output of its tower.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if not named:
        raise ValueError("every weight is frozen: leave one of freeze_image_tower, freeze_text_tower off")
    depths = _depths([name for name, _ in named])
    deepest = {tower: max(depths[name] for name in depths if _tower(name) == tower) for tower in map(_tower, depths)}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    for name, weight in named:
        share = 1.0
        if options.layer_decay < 1:
            share = options.layer_decay ** (deepest[_tower(name)] - depths[name])
        groups[_decays(name, weight), share].append(weight)
    return [
        {"params": weights, "weight_decay": options.weight_decay if decays else 0.0, "share": share}
        for (decays, share), weights in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def _decays(name: str, weight: nn.Parameter) -> bool:
    return weight.ndim >= 2 and not any(part in name for part in _NEVER_DECAYED)


def _tower(name: str) -> str:
    return "image" if "visual." in name else "text"


def _depths(names: list[str]) -> dict[str, int]:
    """Distance of each weight from its tower's input: 0 for stems and embeddings, one past the last block for heads."""
    blocks = {name: int(match.group(1)) + 1 for name in names if (match := _BLOCK.search(name))}
    last = {tower: max((blocks[name] for name in blocks if _tower(name) == tower), default=0) for tower in _TOWERS}
    stems = {name: 0 for name in names if name not in blocks and any(part in name for part in _STEMS)}
    return {name: blocks.get(name, stems.get(name, last[_tower(name)] + 1)) for name in names}
