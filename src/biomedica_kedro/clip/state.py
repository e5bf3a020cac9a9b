"""The state a killed training resumes from: weights, optimizer, averages, random numbers and history, in one folder.

A state appears whole or not at all (written aside, flushed, renamed). The place in the stream is the step itself, as
the order of samples is a function of it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from biomedica_kedro.stages.files import atomic_path

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import ClipModel

logger = logging.getLogger(__name__)

_PREFIX = "step-"
_BEST_PREFIX = "best-"


class StateError(Exception):
    """A state to resume from cannot be read; says which, and what to do."""


@dataclass(slots=True)
class Trainable:
    """The parts of a training run that change from step to step."""

    model: ClipModel
    optimizer: torch.optim.Optimizer
    average: nn.Module | None = None


@dataclass(slots=True)
class Captured:
    """A state as it is written: whole tensors in memory."""

    files: dict[str, dict[str, torch.Tensor]]
    record: dict[str, Any]


@dataclass(slots=True)
class Progress:
    """How far a training is.

    Attributes:
        steps: that are done.
        history: a row each.
        position: where each lane of a stream stands; empty when samples are read by a manifest.
    """

    steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    position: dict[int, Any] = field(default_factory=dict)


def capture(parts: Trainable) -> Captured:
    """Take the state of this moment; where weights are sharded, every process must take part."""
    optimizer = parts.optimizer.state_dict()
    tensors, scalars = _flatten(optimizer["state"])
    files = {"model": whole_state(parts.model), "optimizer": tensors, "random": _random_state()}
    if parts.average is not None:
        files["average"] = whole_state(parts.average)
    return Captured(files, {"optimizer": scalars, "groups": _json_groups(optimizer)})


def whole_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a model, gathered from the processes where they are sharded (then all must call it)."""
    return _contiguous(model.state_dict())


def save_state(folder: Path, progress: Progress, state: Captured, *, keep: int) -> Path:
    """Write the state after so many steps and forget all but the newest `keep`.

    Returns:
        The folder of the state.
    """
    final = folder / f"{_PREFIX}{progress.steps:09d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, tensors in state.files.items():
        save_file(tensors, temporary / f"{name}.safetensors")
    position = {str(number): lane for number, lane in progress.position.items()}
    record = {"step": progress.steps, **state.record, "history": progress.history, "position": position}
    (temporary / "state.json").write_bytes(orjson.dumps(record))
    for path in temporary.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for old in sorted(folder.glob(f"{_PREFIX}*"))[:-keep]:
        shutil.rmtree(old)
    return final


def save_best(folder: Path, step: int, state: dict[str, torch.Tensor]) -> None:
    """Keep the weights that did best on validation so far, after step `step` (from 0).

    Better ones do not replace them until `forget_old_best`: a run that goes on from an earlier state may need them.
    """
    with atomic_path(best_path(folder, step)) as temporary:
        save_file(state, temporary)


def best_path(folder: Path, step: int) -> Path:
    """Where `save_best` put the weights of a step."""
    return folder / f"{_BEST_PREFIX}{step:09d}.safetensors"


def forget_old_best(folder: Path, step: int | None) -> None:
    """Remove the weights of all steps but the best, once no state is left that is older than it."""
    for path in folder.glob(f"{_BEST_PREFIX}*.safetensors"):
        if step is None or path != best_path(folder, step):
            path.unlink()


def load_newest_state(folder: Path, parts: Trainable) -> Progress:
    """Restore the newest state that is whole; one that is damaged is named and passed over.

    Returns:
        How far it was; no steps when there is none.
    Raises:
        StateError: when all are damaged: weeks of work are not begun anew without a word.
    """
    found = sorted(folder.glob(f"{_PREFIX}*"), reverse=True)
    for leftover in folder.glob(f".{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in found:
        try:
            record = orjson.loads((path / "state.json").read_bytes())
            return _restored(path, record, parts)
        except (SafetensorError, ValueError, OSError, KeyError, TypeError) as error:
            logger.warning("the checkpoint %s is damaged, the one before it is tried: %s", path, error)
    if found:
        raise StateError(
            f"no checkpoint in {folder} can be read, of {[path.name for path in found]}. Remove them to train from the "
            "start"
        )
    return Progress()


def _restored(path: Path, record: Mapping[str, Any], parts: Trainable) -> Progress:
    files = {file.stem: load_file(file) for file in path.glob("*.safetensors")}
    _restore_weights(parts.model, files["model"])
    if parts.average is not None:
        parts.average.load_state_dict(files["average"])
    state = _unflatten(files["optimizer"], record["optimizer"])
    position = {int(number): lane for number, lane in record.get("position", {}).items()}
    progress = Progress(int(record["step"]), list(record["history"]), position)
    parts.optimizer.load_state_dict({"state": state, "param_groups": record["groups"]})
    _restore_layout(parts.optimizer)
    _restore_random_state(files["random"])
    logger.info("resuming after step %d from %s", progress.steps, path)
    return progress


def _flatten(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    flat = {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}
    tensors = {name: value for name, value in flat.items() if isinstance(value, torch.Tensor)}
    return _contiguous(tensors), {name: value for name, value in flat.items() if name not in tensors}


def _unflatten(tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **scalars}.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    return state


def _restore_weights(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    own = model.state_dict()
    model.load_state_dict({name: _as_sharded(value, own[name]) for name, value in state.items()})


def _as_sharded(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if not isinstance(like, DTensor):
        return value
    # Each process read the whole value: it takes its own share, and nothing is sent.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _restore_layout(optimizer: torch.optim.Optimizer) -> None:
    # The fused optimizer walks weights and moments in memory order: moments loaded with other strides than their
    # weights (channels last) would be paired with the wrong ones, without an error.
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                values[name] = torch.empty_like(weight).copy_(_as_sharded(value, weight))


def _json_groups(optimizer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**group, "betas": list(group["betas"])} for group in optimizer["param_groups"]]


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: _whole(tensor.detach()).cpu().contiguous() for name, tensor in tensors.items()}


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _random_state() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_state(states: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
