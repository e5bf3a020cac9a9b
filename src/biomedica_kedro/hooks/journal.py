"""What one `kedro run` did, stage by stage: kept by the hooks while it runs, told on the console and in MLflow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow.compute as pc
from kedro.pipeline.node import Node

from biomedica_kedro.batches import BatchFolder, PlannedOutput, Report
from biomedica_kedro.records import REJECTS


@dataclass(slots=True)
class Stage:
    """One node of this run.

    Attributes:
        node: the node's full name, "extraction.parse_articles".
        started: clock when it began to load its inputs.
        seconds: wall time until its last output was saved.
        report: what its plan came to; None for a node without a plan.
        waiting: outputs that are not saved yet.
    """

    node: str
    started: float
    waiting: set[str]
    seconds: float = 0.0
    report: Report | None = None

    @property
    def is_up_to_date(self) -> bool:
        """Whether the stage had batches and all of them were done already."""
        return self.report is not None and self.report.computed == 0


@dataclass(slots=True)
class Journal:
    """The stages of a run in order, and the one that is running."""

    stages: list[Stage] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)

    def begin(self, node: Node) -> None:
        """A node starts, or loads another of its inputs."""
        if not self.stages or self.stages[-1].node != node.name:
            self.stages.append(Stage(node.name, time.perf_counter(), set(node.outputs)))

    def saved(self, dataset: str, value: object) -> Stage | None:
        """An output was saved; returns the stage when that was its last one."""
        stage = self.stages[-1]
        stage.waiting.discard(dataset)
        if isinstance(value, PlannedOutput):
            stage.report = value.plan.report or stage.report
        elif isinstance(value, Mapping):
            self.numbers |= {f"{dataset}/{key}": number for key, number in _numbers(value)}
        if stage.waiting:
            return None
        stage.seconds = time.perf_counter() - stage.started
        return stage

    @property
    def is_nothing_done(self) -> bool:
        """Whether every stage with batches was up to date."""
        planned = [stage for stage in self.stages if stage.report is not None]
        return bool(planned) and all(stage.is_up_to_date for stage in planned)

    def rows(self) -> dict[str, int]:
        """Rows per batch data set of this run."""
        return {name: n for stage in self.stages if stage.report for name, n in stage.report.rows.items()}


def count_rejects(folder: BatchFolder) -> Counter[str]:
    """Rejects by reason of a data set that holds rejects; empty for any other."""
    if not folder.is_complete() or not folder.names():
        return Counter()
    first = folder.file(folder.names()[0])
    if not first.is_file() or folder.table(folder.names()[0]).schema.names != REJECTS.names:
        return Counter()
    counts = pc.value_counts(folder.table(columns=["reason"])["reason"])
    return Counter({str(entry["values"]): int(entry["counts"]) for entry in counts.to_pylist()})


def _numbers(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{prefix}{key}", float(value)))
    return found
