"""The processes of one training: alone, or started by torchrun with one GPU (or CPU) each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

_BLOCK = re.compile(r"\.(resblocks|blocks|layers|stages|layer[1-4])\.\d+$")
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class World:
    """Which of how many processes this is, and where it computes."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints and reports."""
        return self.rank == 0

    def wrap(self, towers: nn.Module) -> nn.Module:
        """Data-parallel over the processes; unchanged when there is only one."""
        if self.size == 1:
            return towers
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            towers = nn.SyncBatchNorm.convert_sync_batchnorm(towers)
        return DistributedDataParallel(towers, device_ids=[self.device] if on_gpu else None, broadcast_buffers=False)

    def shard(self, towers: nn.Module) -> None:
        """Leave each process a share of the weights (FSDP2); blocks are gathered one at a time when they compute.

        Weights that are single numbers (the scales of the loss) stay whole: see `average_gradients`.
        """
        if self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(towers)
        for name, module in towers.named_modules():
            if _BLOCK.search(name):
                fully_shard(module)
        fully_shard(towers, ignored_params={weight for weight in towers.parameters() if weight.ndim == 0})

    def average_gradients(self, towers: nn.Module) -> None:
        """Average the gradients of weights that `shard` leaves whole, as it does those of the others itself."""
        for weight in towers.parameters():
            if weight.ndim == 0 and weight.grad is not None:
                distributed.all_reduce(weight.grad)
                weight.grad.div_(self.size)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def total(self, value: float) -> float:
        """Sum of a number over the processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, device=self.device)
        distributed.all_reduce(tensor)
        return float(tensor)

    def merged(self, values: dict[int, Any]) -> dict[int, Any]:
        """The entries of all processes' values; every process must call it."""
        if self.size == 1:
            return values
        gathered: list[dict[int, Any]] = [{}] * self.size
        distributed.all_gather_object(gathered, values)
        return {key: value for part in gathered for key, value in part.items()}


@contextmanager
def world() -> Iterator[World]:
    """Join the processes torchrun started (it sets RANK, WORLD_SIZE, LOCAL_RANK); alone without them."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(device=device)
        return
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield World(rank, size, device)
    finally:
        distributed.destroy_process_group()
