"""A stage's plan: which function turns which batches into which outputs, and running what is not done yet.

A node returns one `PlannedOutput` for each of its outputs. The data catalog, which alone knows where data lie, gives
each its folder; with the last of them the plan runs: workers read their batch, write their files to the final place
and hand back counts. Image bytes never pass through the process that drives the stages (docs/adr/0002).
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
from pydantic import Field

from biomedica_kedro import __version__
from biomedica_kedro.batches.code import code_digest
from biomedica_kedro.batches.digests import combined, digest_of
from biomedica_kedro.batches.files import atomic_path
from biomedica_kedro.batches.folder import BatchFolder
from biomedica_kedro.batches.spread import run_tasks
from biomedica_kedro.records import Options

WHOLE = "all"


class BatchOptions(Options):
    """How the work is cut and spread.

    Attributes:
        count: number of hash buckets the articles fall into (4096 for the whole of PMC).
        workers: 0 runs in this process, n starts n local worker processes.
        address: `tcp://...` of a running Dask scheduler; overrides `workers`.
        array_index: with `array_count`, this process treats every array_count-th batch only (array jobs).
        array_count: number of array jobs.
    """

    count: int = Field(default=8, ge=1, le=65536)
    workers: int = Field(default=0, ge=0)
    address: str | None = None
    array_index: int = Field(default=0, ge=0)
    array_count: int = Field(default=1, ge=1)


IN_PROCESS = BatchOptions()


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker gets: the batch's name, its inputs, and where its outputs go.

    Attributes:
        name: "0003", a shard's name, or `WHOLE`.
        inputs: by name: a `BatchFolder` (read with `table`), or any other value.
        outputs: by name: the folder of each output.
        digest: digest of all inputs.
        quarantine: items that killed a worker; `map_items` rejects them as `worker_killed`.
    """

    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, BatchFolder]
    digest: str
    quarantine: frozenset[str] = frozenset()

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """This batch's table of an aligned input."""
        return cast(BatchFolder, self.inputs[name]).table(self.name, columns)

    @contextmanager
    def create(self, output: str, suffix: str) -> Iterator[Path]:
        """A temporary path for a binary file of an output; it gets its name when the block succeeds."""
        with atomic_path(self.outputs[output].file(self.name, suffix)) as temporary:
            yield temporary

    @contextmanager
    def open(self, output: str, suffix: str) -> Iterator[BinaryIO]:
        """Like `create`, opened for writing."""
        with self.create(output, suffix) as temporary, temporary.open("wb") as file:
            yield file
            file.flush()

    def scratch(self, output: str) -> Path:
        """Folder for checkpoints of unfinished work: survives a kill, belongs to these inputs only."""
        folder = self.outputs[output].scratch(self.name, self.digest)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def flight_record(self) -> Path:
        """File that names the item being treated, so that an item that kills its worker is known afterwards."""
        folder = next(iter(self.outputs.values()))
        return folder.path / f".{self.name}.flight"

    def without_last_item(self) -> Batch | None:
        """This batch with the item of the flight record in quarantine; None when no new item is named there."""
        try:
            item = self.flight_record.read_text()
        except FileNotFoundError:
            return None
        if not item or item in self.quarantine:
            return None
        return replace(self, quarantine=self.quarantine | {item})


BatchFunction = Callable[[Batch, Any], Mapping[str, pa.Table]]


@dataclass(slots=True)
class Report:
    """What running a plan came to.

    Attributes:
        rows: rows per output, over all batches.
        computed: batches computed now.
        up_to_date: batches that were done already.
        seconds: wall time.
    """

    rows: Counter[str] = field(default_factory=Counter)
    computed: int = 0
    up_to_date: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a stage is going to do; see the module's text."""

    stage: str
    function: BatchFunction
    parameters: Any
    outputs: Sequence[str]
    batches: Mapping[str, Mapping[str, Any]]
    options: BatchOptions = IN_PROCESS
    places: dict[str, BatchFolder] = field(default_factory=dict)
    report: Report | None = None

    def deliver(self, output: str, folder: BatchFolder) -> None:
        """Say where an output goes; with the last output the plan runs."""
        self.places[output] = folder
        if self.places.keys() == set(self.outputs):
            self.report = self._run()

    def _run(self) -> Report:
        started = time.perf_counter()
        tasks = [self._task(name, inputs) for name, inputs in sorted(self.batches.items())]
        todo = [task for task in tasks if not _is_done(task)]
        mine = todo[self.options.array_index :: self.options.array_count]
        if todo:
            for folder in self.places.values():
                folder.reopen()
        run_tasks(self.stage, _Worker(self.function, self.parameters), mine, self.options)
        if len(mine) == len(todo):
            for folder in self.places.values():
                folder.path.mkdir(parents=True, exist_ok=True)
                folder.finish([task.name for task in tasks])
        report = Report(computed=len(mine), up_to_date=len(tasks) - len(todo), seconds=time.perf_counter() - started)
        for output, folder in self.places.items():
            commits = (folder.commit(task.name) for task in tasks)
            report.rows[output] = sum(commit.rows for commit in commits if commit)
        return report

    def _task(self, name: str, inputs: Mapping[str, Any]) -> Batch:
        digests = {key: _input_digest(value, name) for key, value in inputs.items()}
        parameters = None if self.parameters is None else digest_of(self.parameters)
        code = code_digest(self.function, type(self.parameters))
        digest = combined({"code": code, "stage": self.stage, "parameters": parameters, "inputs": digests})
        return Batch(name, inputs, dict(self.places), digest)


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """One output of a plan, to be handed to the catalog."""

    name: str
    plan: Plan

    def deliver(self, folder: BatchFolder) -> None:
        """Say where this output goes; with the last output of its plan the work is done."""
        self.plan.deliver(self.name, folder)


def plan_batches(
    function: BatchFunction,
    *,
    stage: str,
    outputs: Sequence[str],
    parameters: Any = None,
    aligned: Mapping[str, BatchFolder] | None = None,
    whole: Mapping[str, Any] | None = None,
    slices: Mapping[str, Mapping[str, Any]] | None = None,
    options: BatchOptions = IN_PROCESS,
) -> list[PlannedOutput]:
    """Plan the map of a function over batches.

    Args:
        function: top-level function `(batch, parameters) -> {output: table}`; binary files it writes by `batch.create`.
        stage: name of the stage, for messages and digests.
        outputs: names of the outputs, in the order of the node's outputs.
        parameters: given to the function; part of the digest.
        aligned: inputs cut into the same batches: batch b depends on their batch b only.
        whole: inputs of which every batch needs everything (a `BatchFolder`, or a value with a digest).
        slices: inputs given by value, batch by batch; they name the batches when there is no aligned input.
        options: how to spread the work.
    Returns:
        One planned output per name in `outputs`; the work is done once each has been delivered its place.
    """
    names = _batch_names(aligned or {}, slices or {})
    shared = {key: _Whole(value) if isinstance(value, BatchFolder) else value for key, value in (whole or {}).items()}
    batches = {
        name: {**shared, **(aligned or {}), **{key: parts[name] for key, parts in (slices or {}).items()}}
        for name in names
    }
    plan = Plan(
        stage=stage, function=function, parameters=parameters, outputs=outputs, batches=batches, options=options
    )
    return [PlannedOutput(name, plan) for name in outputs]


def _batch_names(aligned: Mapping[str, BatchFolder], slices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    named = [folder.names() for folder in aligned.values()] or [list(parts) for parts in slices.values()] or [[WHOLE]]
    for other in named[1:]:
        if set(other) != set(named[0]):
            raise ValueError(
                f"inputs {[*aligned, *slices]} are cut into different batches: {sorted(set(other) ^ set(named[0]))[:5]}"
            )
    return sorted(named[0])


class _Whole(BatchFolder):
    """A folder all of whose batches count in the digest of every batch."""

    def __init__(self, folder: BatchFolder) -> None:
        super().__init__(folder.path)


def _input_digest(value: object, batch: str) -> str:
    if isinstance(value, BatchFolder) and not isinstance(value, _Whole):
        return value.digest(batch)
    return digest_of(value)


def _is_done(task: Batch) -> bool:
    commits = [folder.commit(task.name) for folder in task.outputs.values()]
    return all(commit is not None and commit.inputs == task.digest for commit in commits)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Compute one batch, write its tables, then commit all of its outputs."""

    function: BatchFunction
    parameters: Any

    def __call__(self, batch: Batch) -> None:
        for folder in batch.outputs.values():
            for stale in folder.path.glob(f"{batch.name}.*"):
                stale.unlink()
            folder.path.mkdir(parents=True, exist_ok=True)
        tables = self.function(batch, self.parameters)
        for output, table in tables.items():
            batch.outputs[output].write_table(batch.name, table)
        for output, folder in batch.outputs.items():
            rows = tables[output].num_rows if output in tables else 0
            files = sorted(folder.path.glob(f"{batch.name}.*"))
            folder.write_commit(batch.name, inputs=batch.digest, code=__version__, rows=rows, files=files)
            shutil.rmtree(folder.scratch(batch.name, batch.digest), ignore_errors=True)
        batch.flight_record.unlink(missing_ok=True)
