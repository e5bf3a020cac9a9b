"""The pipelines by name; `__default__` is all six."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Find the pipelines under `biomedica_kedro.pipelines`.

    Returns:
        Each of the six by its name, and their sum as `__default__`; nothing when the one that was asked for does not
        exist, upon which Kedro names the close match.
    """
    try:
        pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    except ImportError as error:
        # Without a cause there is no such folder; an import that failed has one.
        if error.__cause__ is not None:
            raise
        return {}
    pipelines["__default__"] = sum(pipelines.values(), Pipeline([]))
    return pipelines
