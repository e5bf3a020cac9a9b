"""A stage is a function of one batch: what it gets, what it gives, and the declaration that makes it one.

    @stage(version=3)
    def verify_images(batch: Batch, limits: ImageLimits) -> Tables: ...

A person raises the version when the results change; tests/architecture/test_stage_code.py reminds of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import pyarrow as pa

from biomedica_kedro.records import Reject
from biomedica_kedro.stages.files import FileRecord, atomic_path, remove
from biomedica_kedro.stages.folder import REJECTS_FILE, BatchFolder
from biomedica_kedro.stages.items import map_items
from biomedica_kedro.stages.parquet import Rows, count_rows, write_parquet
from biomedica_kedro.stages.place import Place, read_files
from biomedica_kedro.stages.rejects import RejectLog

Tables: TypeAlias = Mapping[str, Rows]
Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")
Result = TypeVar("Result")


def stage(*, version: int, in_process: bool = False, gpu: bool = False) -> Callable[[Function], Function]:
    """Declare a function to be a stage, or a report.

    Args:
        version: part of the identity of its results.
        in_process: keep the work in the process that drives the stages, whatever the workers.
        gpu: tag its node as one that gains by a graphics card.
    """

    def declare(function: Function) -> Function:
        function.__dict__.update(version=version, in_process=in_process, gpu=gpu)
        return function

    return declare


def version_of(function: Callable[..., Any]) -> int:
    """Version of a stage.

    Raises:
        TypeError: when the function is not declared to be a stage.
    """
    try:
        return int(function.__dict__["version"])
    except KeyError:
        name = f"{function.__module__}.{function.__name__}"
        raise TypeError(f"{name} is no stage: declare it with @stage(version=1)") from None


@dataclass(slots=True)
class Ledger:
    """What became of the items of one batch, and the files written for it.

    Attributes:
        n_items: items that went through `Batch.map`.
        rejects: those that did not come out.
        files: by output, each with its record.
        ran: see `Commit`.
    """

    n_items: int = 0
    rejects: RejectLog = field(default_factory=RejectLog)
    files: dict[str, dict[Place, FileRecord]] = field(default_factory=dict)
    ran: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a stage gets: the batch's name, its inputs, and where its outputs go.

    Attributes:
        name: "0003", a shard's name, or `WHOLE`.
        stage: name of the stage.
        inputs: by name of the data set: a `BatchFolder`, or any other value.
        outputs: by name: the folder of each output.
        digest: identity of the work: of all that counts among the inputs.
        quarantine: items that killed a worker; `map` rejects them as `worker_killed`.
        is_watched: whether workers died on it, none knows where: each item is then named where every machine sees it.
        ledger: filled while the batch is worked on.
    """

    name: str
    stage: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, BatchFolder]
    digest: str
    quarantine: frozenset[str] = frozenset()
    is_watched: bool = False
    ledger: Ledger = field(default_factory=Ledger)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """This batch's table of an input."""
        folder: BatchFolder = self.inputs[name]
        return folder.table(self.name, columns)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, source: Callable[[Item], str]
    ) -> list[Result]:
        """Apply a function to every item; one that raises `DataError` becomes a reject of the batch.

        Args:
            function: treats one item.
            items: what to treat.
            source: names an item for its reject.
        """
        results, rejects = map_items(
            function, items, stage=self.stage, source=source, quarantine=self.quarantine,
            flight_record=self.flight_record,
        )  # fmt: skip
        self.ledger.n_items += len(results) + len(rejects)
        self.reject(rejects)
        return results

    def reject(self, rejects: Iterable[Reject]) -> None:
        """Record what did not become a row of this batch's first output."""
        self.ledger.rejects.add(rejects)

    def expect(self, n_items: int) -> None:
        """Say how many items came in where `map` does not: so many rows of the first output and rejects must follow."""
        self.ledger.n_items += n_items

    @contextmanager
    def create(self, output: str, suffix: str) -> Iterator[Path]:
        """A temporary path for a file of a data set without tables; it gets its name when the block succeeds."""
        with self._written(output, self.outputs[output].file(self.name, suffix)) as path:
            yield path

    @contextmanager
    def create_beside(self, output: str, kind: str) -> Iterator[Path]:
        """Like `create`, for a file that belongs to the batch's table: see `BatchFolder.beside`."""
        with self._written(output, self.outputs[output].beside(self.name, kind)) as path:
            yield path

    @contextmanager
    def open(self, output: str, suffix: str) -> Iterator[BinaryIO]:
        """Like `create`, opened for writing."""
        with self.create(output, suffix) as temporary, temporary.open("wb") as file:
            yield file

    @contextmanager
    def open_beside(self, output: str, kind: str) -> Iterator[BinaryIO]:
        """Like `create_beside`, opened for writing."""
        with self.create_beside(output, kind) as temporary, temporary.open("wb") as file:
            yield file

    def adopt(self, output: str, files: Iterable[Place]) -> None:
        """Take over whole files that lie at their place already."""
        self.ledger.files.setdefault(output, {}).update((path, FileRecord.of(path)) for path in files)

    def scratch(self, output: str) -> Path:
        """Local folder for checkpoints of unfinished work: survives a kill, belongs to these inputs only."""
        folder = self.outputs[output].scratch(self.name, self.digest)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def flight_record(self) -> Place:
        """File that names the item being treated, so that an item that kills its worker is known afterwards.

        It is local: a request an item would cost more than the item. Only a batch that is watched has it in the store.
        """
        first = next(iter(self.outputs.values()))
        if self.is_watched:
            return first.beside(self.name, "flight.txt")
        first.unfinished.mkdir(parents=True, exist_ok=True)
        return first.unfinished / f".{self.name}.flight"

    def note_try(self) -> bool:
        """Begin what may die before an item is named; gives whether an earlier attempt has died.

        Items treated one by one then let the flight record name the guilty one.
        """
        has_died = self.is_watched or self.flight_record.is_file()
        if isinstance(self.flight_record, Path):
            self.flight_record.touch()
        return has_died

    def without_last_item(self) -> Batch | None:
        """This batch with the item of the flight record in quarantine; None when no new item is named there."""
        (content,) = read_files([self.flight_record])
        item = (content or b"").decode()
        if not item or item in self.quarantine:
            return None
        return replace(self, quarantine=self.quarantine | {item}, ledger=Ledger())

    def watched(self) -> Batch:
        """This batch, to be tried again where its flight record cannot be read from here: on a machine of its own."""
        is_elsewhere = not isinstance(next(iter(self.outputs.values())).path, Path)
        return replace(self, is_watched=is_elsewhere, ledger=Ledger())

    def commit(self, tables: Tables) -> None:
        """Write the tables and the rejects, then declare the batch finished.

        Raises:
            ValueError: when rows and rejects do not add up to the items that came in, or a table belongs to no output.
        """
        unknown = tables.keys() - self.outputs.keys()
        if unknown:
            raise ValueError(f"{self.stage} gave tables {sorted(unknown)}, expected some of {list(self.outputs)}")
        first = next(iter(self.outputs))
        for output, folder in self.outputs.items():
            files = dict(self.ledger.files.get(output, {}))
            rejects = self.ledger.rejects if output == first else RejectLog()
            written = {folder.file(self.name): tables[output]} if output in tables else {}
            if rejects:
                written[folder.beside(self.name, REJECTS_FILE)] = rejects.rows()
            files |= {path: write_parquet(path, table) for path, table in written.items()}
            rows = 0
            if output in tables:
                given = tables[output]
                rows = given.num_rows if isinstance(given, pa.Table) else count_rows(folder.file(self.name))
            if output == first:
                self._check(rows)
            counts = dict(sorted(rejects.counts.items()))
            folder.write_commit(
                self.name, inputs=self.digest, rows=rows, rejects=counts, files=files, ran=self.ledger.ran
            )
        remove(self.flight_record)

    def _check(self, rows: int) -> None:
        n_out = rows + len(self.ledger.rejects)
        if self.ledger.n_items and self.ledger.n_items != n_out:
            first = next(iter(self.outputs))
            raise ValueError(
                f"{self.stage} lost records of batch {self.name!r}: {self.ledger.n_items} came in, {n_out} rows of "
                f"{first!r} and rejects came out"
            )

    @contextmanager
    def _written(self, output: str, path: Place) -> Iterator[Path]:
        with atomic_path(path) as temporary:
            yield temporary
            record = FileRecord.of(temporary)
        self.ledger.files.setdefault(output, {})[path] = record
