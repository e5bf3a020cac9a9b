"""Run a model on the CPU with the same bits on any number of cores: the number of threads decides the order of sums."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ROWS = 16


def in_pieces(encode: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """Apply a model without gradients; on a CPU, a few rows at a time, each piece in one thread.

    Args:
        encode: N rows to N rows.
        inputs: N rows, on the device of the model.
    """
    import torch

    def encoded(piece: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return encode(piece)

    if inputs.device.type != "cpu":
        return encoded(inputs)
    before = torch.get_num_threads()
    cores = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    try:
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(encoded, inputs.split(_ROWS))))
    finally:
        torch.set_num_threads(before)
