"""The models that are compared, found where their names say."""

from __future__ import annotations

from collections.abc import Collection

from biomedica_kedro.benchmark.models import Models
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.datasets.registry import checkpoint_folder
from biomedica_kedro.encoders import ModelHandle
from biomedica_kedro.stages import BatchFolder


def find_models(
    models: Models, checkpoint: BatchFolder, only: Collection[str] | None = None
) -> tuple[dict[str, ModelHandle], dict[str, str]]:
    """The models that can be measured, by id; and of the optional ones that cannot be had, the reason.

    Args:
        models: as they are named in the parameters; MLflow's are looked up.
        checkpoint: `clip_checkpoint`.
        only: ids of those to look for, all by default: asking a hub for a model it has not takes a minute.
    Raises:
        ModelError: when a model that is not optional cannot be found.
    """
    found: dict[str, ModelHandle] = {}
    left_out: dict[str, str] = {}
    for choice in (choice for choice in models.choices if only is None or choice.id in only):
        try:
            handle = ModelHandle(choice.resolved(checkpoint_folder), checkpoint)
            if choice.optional:
                handle.fetch()
            found[choice.id] = handle
        except ModelError as error:
            if not choice.optional:
                raise
            left_out[choice.id] = str(error)
    return found, left_out
