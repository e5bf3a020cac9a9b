"""Run nodes of the six pipelines, and make data sets, without Kedro's session and catalog."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from kedro.pipeline.node import Node

from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.node import BATCHES, Drawn, Workplace
from biomedica_kedro.stages.run import BatchOptions, Work


def run_node(
    name: str, root: Path, *, options: Mapping[str, Any] | None = None, batches: BatchOptions | None = None,
    **inputs: Any,
) -> dict[str, Any]:  # fmt: skip
    """Run a node by name, as Kedro would; its outputs go below `root`.

    Inputs are given by the name of their data set, options by the name of their parameter. Gives the folder of each
    output of a stage by name, or the value of each output of a report.
    """
    node = next(node for node in all_nodes() if node.name.rpartition(".")[2] == name)
    hints = dict(zip(node.inputs, inspect.signature(node.func, eval_str=True).parameters.values(), strict=True))
    is_stage = "batches" in node.tags
    given = dict(inputs)
    for parameter in (name for name in node.inputs if name.startswith("params:")):
        asked = (options or {}).get(parameter.rpartition(".")[2])
        given[parameter] = hints[parameter].annotation() if asked is None else asked
    if BATCHES in node.inputs:
        places = {output: BatchFolder(root / output) if is_stage else NotDrawn() for output in node.outputs}
        given[BATCHES] = Workplace(batches or BatchOptions(count=1), places)
    results = node.run({name: given[name] for name in node.inputs})
    if is_stage:
        return {output: BatchFolder(root / output) for output in node.outputs}
    return {output: value.value if isinstance(value, Drawn) else value for output, value in results.items()}


def run_stage(function: Any, root: Path, *makes: str, **work: Any) -> dict[str, BatchFolder]:
    """Run a stage on inputs of the test's own; see `Work`."""
    outputs = {name: BatchFolder(root / name) for name in makes}
    Work(function=function, outputs=outputs, **work).run()
    return outputs


class NotDrawn:
    """The place of a report that is not there."""

    def drawn_from(self) -> None:
        """Nothing."""


def all_nodes() -> Iterator[Node]:
    """The nodes of all pipelines."""
    for name in ("ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation"):
        yield from importlib.import_module(f"biomedica_kedro.pipelines.{name}").create_pipeline().nodes


def commit(folder: BatchFolder, tables: Mapping[str, pa.Table], **beside: Mapping[str, Path]) -> BatchFolder:
    """Declare a data set complete that holds some tables, and the files that lie beside them already."""
    for batch, table in tables.items():
        files = [folder.write_table(batch, table), *(files[batch] for files in beside.values())]
        folder.write_commit(batch, inputs="test", rows=table.num_rows, rejects={}, files=files)
    finish(folder, list(tables))
    return folder


def finish(folder: BatchFolder, batches: list[str]) -> None:
    """Declare a data set complete whose batches are committed."""
    folder.finish({name: folder.commit(name) for name in batches})
