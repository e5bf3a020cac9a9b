"""The pipelines by name; `__default__` is all six."""

from __future__ import annotations

from importlib.resources import files

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from biomedica_kedro.close_match import close_match

ORDER = ("ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation")


def register_pipelines() -> dict[str, Pipeline]:
    """Find the pipelines under `biomedica_kedro.pipelines`.

    Returns:
        Each of the six by its name, or those that were asked for, and their sum as `__default__`.
    Raises:
        ValueError: when one that was asked for does not exist; names it and the close match.
    """
    try:
        pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    except ImportError as error:
        # Without a cause there is no such folder; an import that failed has one.
        if error.__cause__ is not None:
            raise
        name = str(error).split("'")[1].rpartition(".")[2]
        known = [folder.name for folder in files("biomedica_kedro.pipelines").iterdir() if folder.name.isalpha()]
        raise ValueError(f"there is no pipeline {name!r}: {close_match(name, known)}") from None
    ordered = {name: pipelines[name] for name in sorted(pipelines, key=_place)}
    return {**ordered, "__default__": sum(ordered.values(), Pipeline([]))}


def _place(name: str) -> tuple[int, str]:
    """Place of a pipeline in the order of the work; others come last."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
