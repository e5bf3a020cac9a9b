"""Where data lie: the root that was asked for, and a node's outputs, which only the catalog knows."""

from __future__ import annotations

from typing import Any

from kedro.config import AbstractConfigLoader
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from biomedica_kedro.stages.node import BATCHES, Workplace


def data_root_of(loader: AbstractConfigLoader) -> str:
    """The folder or URL of all data: of the command line, else of the environment."""
    given = loader.runtime_params or {}
    return str(given.get("data_root") or loader["globals"].get("data_root", "data"))


class PlaceHooks:
    """Turn `params:batches` into a `Workplace`, for the nodes that take it."""

    @hook_impl
    def before_node_run(
        self, node: Node, catalog: CatalogProtocol[Any, Any], inputs: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The batch folder, or the report's data set, of each output."""
        if BATCHES not in inputs:
            return None
        datasets = {name: catalog.get(name) for name in node.outputs}
        outputs = {name: getattr(dataset, "folder", dataset) for name, dataset in datasets.items()}
        return {BATCHES: Workplace(inputs[BATCHES], outputs)}
