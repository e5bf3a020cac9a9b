"""Which models are measured: the project's checkpoint, an untrained twin as control, any open_clip name or file."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, TypeAdapter, model_validator

from biomedica_kedro.records import Options

SEPARATOR = "--"


class ModelSource(StrEnum):
    """Where a model comes from."""

    CHECKPOINT = "checkpoint"
    UNTRAINED = "untrained"
    OPEN_CLIP = "open_clip"
    DESCRIPTORS = "descriptors"


class ModelChoice(Options):
    """One model to measure.

    Attributes:
        id: as shown in tables and MLflow.
        source: `checkpoint` is `clip_checkpoint`, or another checkpoint at `weights`; `untrained` has its architecture
            with random weights; `open_clip` is a name and a pretrained tag or file, or a folder or hub repository of
            open_clip's shape; `descriptors` are hand-made image features without weights or texts, a floor for probes.
        architecture: for `open_clip`, e.g. "ViT-B-16", "local-dir:path", "hf-hub:organization/name".
        weights: a tag, or a path; a tag or repository is downloaded, which only this entry asks for.
        quick_gelu: whether the weights of a file were trained with QuickGELU, where nothing beside it says so.
        seed: of random weights.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$")
    source: ModelSource
    architecture: str = ""
    weights: str = ""
    quick_gelu: bool | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _open_clip_needs_a_name(self) -> Self:
        holds_weights = self.architecture.startswith(("hf-hub:", "local-dir:"))
        if self.source is ModelSource.OPEN_CLIP and not (self.architecture and (self.weights or holds_weights)):
            raise ValueError(
                f"model {self.id!r}: source open_clip needs `architecture` and `weights`, or an `architecture` that "
                "names a folder (local-dir:path) or a repository (hf-hub:organization/name)"
            )
        return self


def model_choices(entries: Sequence[Any]) -> list[ModelChoice]:
    """Check the `evaluation.models` parameter.

    Raises:
        ValueError: when an entry is wrong or two have the same id.
    """
    choices = TypeAdapter(list[ModelChoice]).validate_python(list(entries))
    ids = [choice.id for choice in choices]
    if len(set(ids)) != len(ids):
        raise ValueError(f"evaluation.models: ids must differ, found {ids}")
    return choices


def batch_name(model_id: str, task_id: str) -> str:
    """Name of the batch that holds a model's embeddings of a task."""
    return f"{model_id}{SEPARATOR}{task_id}"


def model_and_task(batch: str) -> tuple[str, str]:
    """The reverse of `batch_name`."""
    model_id, _, task_id = batch.rpartition(SEPARATOR)
    return model_id, task_id
