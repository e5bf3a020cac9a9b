"""Which models are measured: the project's checkpoint, an untrained twin as control, any open_clip name or file."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

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
            with random weights; `open_clip` is a name and a pretrained tag or file; `descriptors` are hand-made
            image features without weights or texts, a floor for probes.
        architecture: for `open_clip`, e.g. "ViT-B-16".
        weights: a tag, or a path; a tag is downloaded, which only this entry asks for.
        seed: of random weights.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$")
    source: ModelSource
    architecture: str = ""
    weights: str = ""
    seed: int = 0

    @model_validator(mode="after")
    def _open_clip_needs_a_name(self) -> Self:
        if self.source is ModelSource.OPEN_CLIP and not (self.architecture and self.weights):
            raise ValueError(f"model {self.id!r}: source open_clip needs `architecture` and `weights`")
        return self


class Models(Options):
    """The models to measure, as the parameter `evaluation.models` lists them; the first is the leading one."""

    choices: tuple[ModelChoice, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, value: object) -> object:
        return {"choices": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [choice.id for choice in self.choices]
        if len(set(ids)) != len(ids):
            raise ValueError(f"evaluation.models: ids must differ, found {ids}")
        return self

    @property
    def leading(self) -> ModelChoice:
        """The model that diagnostics and nomination are about."""
        return self.choices[0]


def batch_name(model_id: str, task_id: str) -> str:
    """Name of the batch that holds a model's embeddings of a task."""
    return f"{model_id}{SEPARATOR}{task_id}"


def model_and_task(batch: str) -> tuple[str, str]:
    """The reverse of `batch_name`."""
    model_id, _, task_id = batch.rpartition(SEPARATOR)
    return model_id, task_id
