"""The pipelines by name; `__default__` is all six."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Find the pipelines under `biomedica_kedro.pipelines`.

    Returns:
        Each of the six by its name, and their sum as `__default__`.
    """
    pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    pipelines["__default__"] = sum(pipelines.values(), Pipeline([]))
    return pipelines
