"""What one `kedro run` did, node by node: told on the console and in MLflow, under every runner.

Kedro's ParallelRunner calls the hooks of a node in the process that runs it, with hooks of its own. So the journal is a
file of lines, one a finished node, that all processes of a run append to.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node

from biomedica_kedro.stages.node import Drawn, Unchanged
from biomedica_kedro.stages.run import Receipt

_PATH = "BIOMEDICA_JOURNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One node that has run.

    Attributes:
        node: the node's full name, "extraction.parse_articles".
        seconds: wall time of its work.
        error: why it failed; empty when it did not.
        rows: rows of its outputs, for a stage.
        rejects: rejects by reason, of its outputs that have some.
        computed: batches computed now; reports drawn now.
        up_to_date: batches, or reports, that were there already.
        numbers: values of its reports, flattened.
    """

    node: str
    seconds: float
    error: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, dict[str, int]] = field(default_factory=dict)
    computed: int = 0
    up_to_date: int = 0
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def is_up_to_date(self) -> bool:
        """Whether the node had nothing to do."""
        return self.computed == 0 and self.up_to_date > 0


class Journal:
    """Hooks that write the journal; other hooks read it with `entries`."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self) -> None:
        """Begin a journal."""
        descriptor, name = tempfile.mkstemp(prefix="biomedica-journal-", suffix=".jsonl")
        os.close(descriptor)
        os.environ[_PATH] = name

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node) -> None:
        """Note when a node starts."""
        self._started[node.name] = time.perf_counter()

    @hook_impl(tryfirst=True)
    def after_node_run(self, node: Node, outputs: dict[str, Any]) -> None:
        """Write what a node came to."""
        self._write(entry_of(node.name, self._seconds(node), outputs))

    @hook_impl(tryfirst=True)
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Write that a node failed."""
        self._write(Entry(node=node.name, seconds=self._seconds(node), error=str(error) or type(error).__name__))

    def entries(self) -> list[Entry]:
        """The nodes that have finished, in the order in which they did."""
        path = Path(os.environ.get(_PATH, os.devnull))
        return [Entry(**orjson.loads(line)) for line in path.read_bytes().splitlines()] if path.is_file() else []

    def close(self) -> None:
        """Remove the file."""
        path = os.environ.pop(_PATH, None)
        if path is not None:
            Path(path).unlink(missing_ok=True)

    def _seconds(self, node: Node) -> float:
        now = time.perf_counter()
        return now - self._started.pop(node.name, now)

    def _write(self, entry: Entry) -> None:
        path = os.environ.get(_PATH)
        if path is not None:
            with Path(path).open("ab", buffering=0) as file:  # one write, appended: lines of processes never mix
                file.write(orjson.dumps(asdict(entry), option=orjson.OPT_APPEND_NEWLINE))


def entry_of(node: str, seconds: float, outputs: Mapping[str, Any]) -> Entry:
    """What a node's outputs tell: receipts of a stage, drawn or unchanged reports, or any values."""
    receipts = [value for value in outputs.values() if isinstance(value, Receipt)]
    reports = [value for value in outputs.values() if isinstance(value, Drawn | Unchanged)]
    drawn = {name: value.value for name, value in outputs.items() if isinstance(value, Drawn)}
    first = receipts[0] if receipts else Receipt("")
    return Entry(
        node=node,
        seconds=seconds,
        rows={receipt.output: receipt.rows for receipt in receipts},
        rejects={receipt.output: dict(receipt.rejects) for receipt in receipts if receipt.rejects},
        computed=first.computed + len(drawn),
        up_to_date=first.up_to_date + len(reports) - len(drawn),
        numbers={key: number for name, value in drawn.items() for key, number in numbers_of(value, name)},
    )


def numbers_of(value: object, prefix: str) -> Iterator[tuple[str, float]]:
    """Numbers in a report, flattened: ("annotation_quality/purity", 0.97)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from numbers_of(inner, f"{prefix}/{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield prefix, float(value)
