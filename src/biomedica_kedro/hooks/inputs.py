"""Answer a run that cannot begin before it begins: which data sets are missing, and the command that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from biomedica_kedro.datasets.batches import BatchDataset
from biomedica_kedro.datasets.report import AbsentReport, ReportDataset


class MissingDataError(Exception):
    """A run asks for data that no run has made yet."""


class InputHooks:
    """Refuse a run whose inputs do not exist."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Look at every input that an earlier stage makes; an optional report that is not there is None to its nodes.

        Raises:
            MissingDataError: naming all that are missing, and the command that makes them.
        """
        missing = [name for name in sorted(needed_inputs(pipeline, catalog)) if _is_missing(name, catalog)]
        if missing:
            environment = run_params.get("env")
            command = "kedro run" + (f" --env={environment}" if environment else "")
            time = "" if environment else ", in about 5 minutes on the embedded corpus"
            raise MissingDataError(
                f"nothing was run: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there yet. "
                f"One command makes everything{time}:\n\n  {command}"
            )
        for name in pipeline.inputs():
            if isinstance(catalog.get(name), ReportDataset) and not catalog.exists(name):
                catalog[name] = AbsentReport()


def needed_inputs(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> set[str]:
    """Data sets that the pipeline does not make and at least one of its nodes cannot do without."""
    needed = {name for node in pipeline.nodes for name in node.inputs if not _is_optional(name, node.func, catalog)}
    return {name for name in needed & pipeline.inputs() if not name.startswith("params:")}


def _is_optional(name: str, function: Any, catalog: CatalogProtocol[Any, Any]) -> bool:
    """Whether a node runs without an input: always, or since a parameter that stands for it is not empty."""
    optional: Mapping[str, str | None] = getattr(function, "optional", {})
    if name not in optional:
        return False
    parameter = optional[name]
    return parameter is None or bool(catalog.load(parameter))


def _is_missing(name: str, catalog: CatalogProtocol[Any, Any]) -> bool:
    return isinstance(catalog.get(name), BatchDataset | ReportDataset) and not catalog.exists(name)
