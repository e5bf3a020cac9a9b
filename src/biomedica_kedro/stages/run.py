"""Run a stage: which of its batches are not done yet, computing them, declaring its data sets complete.

Image bytes never pass through the process that drives the stages: workers read their batch, write their files to the
final place and commit them; what comes back is a receipt.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

import psutil
from pydantic import Field
from threadpoolctl import ThreadpoolController

from biomedica_kedro.records import HOW, Options
from biomedica_kedro.stages.folder import WHOLE, BatchFolder, Commit
from biomedica_kedro.stages.identity import combined, digest_of
from biomedica_kedro.stages.spread import run_tasks
from biomedica_kedro.stages.stage import Batch, version_of

logger = logging.getLogger(__name__)

_MEMORY_OF_TABLES = 10  # bytes of Python objects that a byte of compressed Parquet becomes, at the least
_SECONDS_BETWEEN_LOOKS = 1.0

Records: TypeAlias = Mapping[str, Mapping[str, Commit]]
"""Commit records, by data set and batch."""


class BatchOptions(Options):
    """How the work is cut and spread.

    Attributes:
        count: number of hash buckets the articles fall into (4096 for the whole of PMC).
        workers: 0 runs in this process, n starts n local worker processes.
        address: `tcp://...` of a running Dask scheduler; overrides `workers`.
        array_index: with `array_count`, this process treats every array_count-th batch only (array jobs).
        array_count: number of array jobs; each waits at the end of a stage for what the others do.
        wait_for_other_run: wait when another run works on the same data; otherwise stop.
    """

    count: int = Field(default=8, ge=1, le=65536)
    workers: Annotated[int, HOW] = Field(default=0, ge=0)
    address: Annotated[str | None, HOW] = None
    array_index: Annotated[int, HOW] = Field(default=0, ge=0)
    array_count: Annotated[int, HOW] = Field(default=1, ge=1)
    wait_for_other_run: Annotated[bool, HOW] = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a stage, or a report, came to for one of its outputs.

    Attributes:
        output: name of the data set.
        rows: rows over all batches.
        rejects: rejects by reason, over all batches.
        computed: batches computed now.
        up_to_date: batches that were done already.
    """

    output: str
    rows: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    computed: int = 0
    up_to_date: int = 0


@dataclass(slots=True, kw_only=True)
class Work:
    """A stage and everything it needs to run.

    Attributes:
        function: the stage, `(batch, *options) -> {output: table}`.
        outputs: where its outputs go, by name.
        options: given to the function after the batch.
        each: inputs cut into the same batches: batch b depends on their batch b only.
        whole: inputs of which every batch needs everything.
        tools: inputs that do not count: clients, logs, files read by a place that counts elsewhere.
        cut: inputs by value: by batch name, then by input name.
        spread: how to spread the batches.
    """

    function: Callable[..., Any]
    outputs: Mapping[str, BatchFolder]
    options: Sequence[Options] = ()
    each: Mapping[str, BatchFolder] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, Any] = field(default_factory=dict)
    cut: Mapping[str, Mapping[str, Any]] | None = None
    spread: BatchOptions = field(default_factory=BatchOptions)

    def run(self) -> list[Receipt]:
        """Compute what is not done; one receipt an output.

        Raises:
            TaskError: when a batch fails; those before it stay committed.
        """
        name = self.function.__name__
        records = {name: folder.commits() for name, folder in self.each.items()}
        batches = self._batches(records)
        commits = self._committed(batches)
        todo = [batch for batch in batches if not _is_done(batch, commits[batch.name])]
        of_this_job = {batch.name for batch in batches[self.spread.array_index :: self.spread.array_count]}
        mine = [batch for batch in todo if batch.name in of_this_job]
        if mine:
            self._check_memory(mine, records)
            for folder in self.outputs.values():
                folder.reopen()
            run_tasks(name, _Worker(self.function, self.options), mine, self.spread)
            commits |= self._committed(mine)
        commits |= self._wait_for_others(name, [batch for batch in todo if batch.name not in of_this_job])
        for output, folder in self.outputs.items():
            if self.spread.array_index == 0:
                folder.finish({name: records[output] for name, records in commits.items()})
            else:
                _wait_until(folder.is_complete)
        return [self._receipt(output, commits, len(mine)) for output in self.outputs]

    def _committed(self, batches: Sequence[Batch]) -> dict[str, dict[str, Commit]]:
        """Records of the outputs of some batches, as far as they are there."""
        found = {output: folder.commits() for output, folder in self.outputs.items()} if batches else {}
        return {b.name: {output: c[b.name] for output, c in found.items() if b.name in c} for b in batches}

    def _batches(self, records: Records) -> list[Batch]:
        names = self._names()
        shared = {"stage": self.function.__name__, "version": version_of(self.function)}
        if names:
            shared |= {"options": [digest_of(options) for options in self.options]}
            shared |= {"whole": {name: digest_of(value) for name, value in self.whole.items()}}
        digests = {key: {name: commit.digest for name, commit in found.items()} for key, found in records.items()}
        counted = combined(shared)
        return [self._batch(name, counted, digests) for name in names]

    def _batch(self, name: str, shared: str, digests: Mapping[str, Mapping[str, str]]) -> Batch:
        cut = self.cut[name] if self.cut is not None else {}
        each = {key: digests[key].get(name) or folder.digest(name) for key, folder in self.each.items()}
        digest = combined(
            {"shared": shared, "each": each, "cut": {key: digest_of(value) for key, value in cut.items()}}
        )
        inputs = {**self.whole, **self.tools, **self.each, **cut}
        return Batch(name, self.function.__name__, inputs, dict(self.outputs), digest)

    def _names(self) -> list[str]:
        named = [folder.names() for folder in self.each.values()]
        if self.cut is not None:
            named.append(list(self.cut))
        for other in named[1:]:
            if set(other) != set(named[0]):
                raise ValueError(
                    f"the inputs {[*self.each]} of {self.function.__name__} are cut into different batches, e.g. "
                    f"{sorted(set(other) ^ set(named[0]))[:5]}: was batches.count changed? Run the stages before, too"
                )
        return sorted(named[0]) if named else [WHOLE]

    def _check_memory(self, batches: Sequence[Batch], records: Records) -> None:
        """Refuse a batch whose tables cannot fit into the memory of this machine."""
        if self.spread.address is not None:
            return
        limit = psutil.virtual_memory().total / max(1, self.spread.workers)
        for batch in batches:
            for name, commits in records.items():
                commit = commits.get(batch.name)
                table = commit.files.get(f"{batch.name}.parquet") if commit else None
                if table is not None and table.n_bytes * _MEMORY_OF_TABLES > limit:
                    raise ValueError(
                        f"batch {batch.name!r} of {name!r} has {table.n_bytes / 1e9:.1f} GB of Parquet, too much for "
                        f"the {limit / 1e9:.0f} GB of memory a worker has: raise batches.count and run from ingestion"
                    )

    def _wait_for_others(self, stage: str, batches: Sequence[Batch]) -> dict[str, dict[str, Commit]]:
        """Records of the batches that other array jobs compute, once they are there."""
        commits: dict[str, dict[str, Commit]] = {}

        def are_there() -> bool:
            missing = [batch for batch in batches if batch.name not in commits]
            found = self._committed(missing)
            commits.update({b.name: found[b.name] for b in missing if _is_done(b, found[b.name])})
            return len(commits) == len(batches)

        if not are_there():
            logger.info("%s: waiting for %d batches of the other array jobs", stage, len(batches) - len(commits))
            _wait_until(are_there)
        return commits

    def _receipt(self, output: str, commits: Mapping[str, Mapping[str, Commit]], computed: int) -> Receipt:
        records = [by_output[output] for by_output in commits.values()]
        rejects: Counter[str] = Counter()
        for record in records:
            rejects.update(record.rejects)
        rows = sum(record.rows for record in records)
        return Receipt(output, rows, dict(sorted(rejects.items())), computed, len(records) - computed)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Compute one batch and commit all of its outputs; with BLAS in one thread: their number decides the last bits."""

    function: Callable[..., Any]
    options: Sequence[Options]

    def __call__(self, batch: Batch) -> None:
        for folder in batch.outputs.values():
            folder.withdraw(batch.name)
        with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
            tables = self.function(batch, *self.options)
        batch.commit(tables)


@lru_cache(maxsize=1)
def _libraries(n_modules: int) -> ThreadpoolController:
    """The libraries with threads that are loaded; looked for again when another module may have loaded one."""
    return ThreadpoolController()


def _is_done(batch: Batch, commits: Mapping[str, Commit]) -> bool:
    return commits.keys() == batch.outputs.keys() and all(c.inputs == batch.digest for c in commits.values())


def _wait_until(is_so: Callable[[], bool]) -> None:
    """Look now and then, and not so often that looking is all that is done."""
    started = time.monotonic()
    while not is_so():
        took = time.monotonic() - started
        time.sleep(max(_SECONDS_BETWEEN_LOOKS, 5 * took))
        started = time.monotonic()
