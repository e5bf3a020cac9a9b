"""One of two processes of `test_two_processes_have_the_gradient_of_one`; started by it."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from biomedica_kedro.clip.config import Objective
from biomedica_kedro.clip.distributed import world
from biomedica_kedro.clip.objective import contrastive_backward, make_loss
from tests.clip.test_objective import coca, gradients, pairs, towers, unequal_captions


def main(folder: Path) -> None:
    """Gradients of both objectives, whole and in pieces, written by the first process."""
    torch.set_num_threads(1)
    found = {}
    with world() as processes:
        images, tokens = (tensor.chunk(processes.size)[processes.rank] for tensor in pairs())
        for objective in Objective:
            changes = {"init_logit_bias": -10} if objective is Objective.SIGLIP else {}
            for pieces in (1, 3):
                own = folder / f"rank{processes.rank}"
                own.mkdir(exist_ok=True)
                model = towers(own, **changes)
                loss = make_loss(objective, processes.rank, processes.size)
                contrastive_backward(processes.wrap(model), images, tokens, loss=loss, pieces=pieces)
                found[objective.value, pieces] = gradients(model)
        images, tokens = (tensor.chunk(processes.size)[processes.rank] for tensor in unequal_captions())
        model = coca(folder / f"rank{processes.rank}")
        loss = make_loss(Objective.INFO_NCE, processes.rank, processes.size)
        value = contrastive_backward(processes.wrap(model), images, tokens, loss=loss)
        found["coca"] = gradients(model)
        found["coca loss"] = processes.total(value.item()) / processes.size
        if processes.is_main:
            torch.save(found, folder / "gradients.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
