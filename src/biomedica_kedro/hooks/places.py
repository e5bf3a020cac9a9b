"""Tell a node where its outputs lie, which only the catalog knows."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from biomedica_kedro.stages.node import BATCHES, Workplace


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
