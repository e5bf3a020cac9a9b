"""What a training will take, before it starts: samples, epochs, floating-point operations, hours and cost.

Arithmetic, not measurement: forward operations counted on a model without storage, three times that for training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from biomedica_kedro.clip.checkpoints import create
from biomedica_kedro.clip.config import TrainOptions

_BACKWARD_AND_FORWARD = 3
_RECOMPUTED = 4
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a training will take.

    Attributes:
        samples_seen: steps times batch size.
        epochs: samples seen over samples selected.
        forward_gigaflops: of one image-text pair.
        total_exaflops: of the whole training.
        hours: on the machine that `train_clip.machine` describes.
        cost: hours times devices times price, in the currency of the price; None where no price is stated.
    """

    samples_seen: int
    epochs: float
    forward_gigaflops: float
    total_exaflops: float
    hours: float
    cost: float | None

    @property
    def training_flops_per_pair(self) -> float:
        """Operations of one pair forward and backward; what is computed twice to save memory counts once."""
        return _BACKWARD_AND_FORWARD * self.forward_gigaflops * 1e9

    def __str__(self) -> str:
        """One line for the log."""
        epochs = f"{self.epochs:.1f} epochs" if math.isfinite(self.epochs) else "as they stream by"
        cost = "price not asked (train_clip.machine.price_per_hour)" if self.cost is None else f"cost {self.cost:,.2f}"
        return (
            f"{self.samples_seen:,} samples seen ({epochs}), {self.forward_gigaflops:.4g} GFLOP a pair "
            f"forward, {self.total_exaflops:.4g} EFLOP in all: {self.hours:.3g} hours, {cost}"
        )


def estimate(config: Mapping[str, Any], options: TrainOptions, n_samples: int) -> Estimate:
    """Estimate a training.

    Args:
        config: open_clip's configuration.
        options: of the run; `machine` says how fast and how dear the devices are.
        n_samples: samples of the training split.
    """
    machine = options.machine
    flops = forward_flops(config)
    seen = options.steps * options.batch_size
    passes = _RECOMPUTED if options.gradient_checkpointing or options.accumulate > 1 else _BACKWARD_AND_FORWARD
    total = flops * passes * seen
    hours = total / (machine.teraflops * 1e12 * machine.utilization * machine.devices) / _SECONDS_PER_HOUR
    return Estimate(
        samples_seen=seen,
        epochs=seen / n_samples if n_samples else math.inf,
        forward_gigaflops=flops / 1e9,
        total_exaflops=total / 1e18,
        hours=hours,
        cost=hours * machine.devices * machine.price_per_hour if machine.price_per_hour else None,
    )


def forward_flops(config: Mapping[str, Any]) -> int:
    """Floating-point operations of one image and one text through their towers."""
    model = create(config, device="meta").train()
    size = config["preprocess_cfg"]["size"]
    height, width = (size, size) if isinstance(size, int) else size
    length = config["model_cfg"]["text_cfg"].get("context_length", 77)
    # Two of each: batch norm wants more than one value a channel.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode_image(torch.empty(2, 3, height, width, device="meta"))
        model.encode_text(torch.zeros(2, length, dtype=torch.long, device="meta"))
    return int(counter.get_total_flops()) // 2
