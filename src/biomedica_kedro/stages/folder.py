"""Where the batches of one data set lie, and the commit records that say which of them are done.

    figure_images/
      0003.parquet             the batch's table, if it has one
      _rejects/0003.parquet    what did not become a row of it, and why
      _archive/0003.tar        files that belong to the table: readers of tables pass over names with "_"
      _commits/0003.json       written last: digest of the inputs, rows, rejects, sha256 and size of each file
      _complete.json           written when every batch of the data set is committed

There is no database: the records are the ledger. Names that begin with a dot are unfinished work. Any reader of Parquet
opens the folder as it is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from biomedica_kedro.records import REJECTS
from biomedica_kedro.stages.files import FileRecord, footer_checksum, remove, write_json
from biomedica_kedro.stages.parquet import read_parquet, write_parquet
from biomedica_kedro.stages.place import (
    Listed,
    Place,
    entries,
    files_below,
    read_file,
    read_files,
    read_listed,
    scratch_root,
)
from biomedica_kedro.stages.query import files_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset

WHOLE = "all"
_COMPLETE = "_complete.json"
_COMMITS = "_commits"
REJECTS_FILE = "rejects.parquet"
_SCRATCH = ".scratch"


class IncompleteError(Exception):
    """A data set was read before the stage that makes it had finished."""


class DamagedError(Exception):
    """A file is not what was written; its batch counts as not done from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Record of one finished batch.

    Attributes:
        inputs: digest of everything the batch was computed from (data, options, version of the stage).
        rows: rows of the batch's table, 0 when it has none.
        rejects: number of rejects by reason.
        files: the batch's files, by name within the folder.
        ran: which of several builds of the stage's code computed it, where there are several.
    """

    inputs: str
    rows: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    ran: str = ""

    @property
    def digest(self) -> str:
        """sha256 over the content of the batch's files; its rejects do not count."""
        content = sorted((name, record.sha256) for name, record in self.files.items() if not _is_reject(name))
        return hashlib.sha256(orjson.dumps(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """Handle on a data set kept batch by batch in one folder; cheap to make, to copy and to send to a worker."""

    path: Place

    @property
    def name(self) -> str:
        """Name of the data set: the folder's name."""
        return str(self.path.name)

    def is_complete(self) -> bool:
        """Whether every batch of the data set is committed."""
        return self._completed() is not None

    def names(self) -> list[str]:
        """Names of the batches, sorted.

        Raises:
            IncompleteError: when the stage that makes the data set has not finished.
        """
        names = self._completed()
        if names is None:
            raise IncompleteError(
                f"data set {self.name!r} is not complete in {self.path}: "
                "run the pipeline that makes it first, or `kedro run` for all of them"
            )
        return names

    def committed(self) -> list[str]:
        """Names of the batches that are finished, sorted, whether or not all are."""
        return sorted(self.commits())

    def commits(self) -> dict[str, Commit]:
        """The records of all finished batches, by name: a few listings, however many batches there are."""
        listed = self._listed()
        prefix, sizes = f"{_COMMITS}/", {name: one.n_bytes for name, one in listed.items()}
        records = {name: one for name, one in listed.items() if name.startswith(prefix)}
        if isinstance(self.path, Path):
            found = read_files([self.path / name for name in records])
        else:
            found = read_listed(self.path, records)
        names = [name.removeprefix(prefix).removesuffix(".json") for name in records]
        commits = {name: _commit_of(content, sizes.get) for name, content in zip(names, found, strict=True)}
        return {name: commit for name, commit in commits.items() if commit is not None}

    def commit(self, batch: str) -> Commit | None:
        """The record of a finished batch; None when there is none that is whole, or its files are not as it says."""
        (content,) = read_files([self.path / _COMMITS / f"{batch}.json"])
        return _commit_of(content, self._size)

    def digest(self, batch: str | None = None) -> str:
        """Content digest of one batch, or of the whole data set."""
        if batch is not None:
            return self._digest(batch, self.commit(batch))
        names, commits = self.names(), self.commits()
        digests = (f"{name}:{self._digest(name, commits.get(name))}\n" for name in names)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def digests(self) -> dict[str, str]:
        """Content digest of each finished batch."""
        return {name: commit.digest for name, commit in self.commits().items()}

    def file(self, batch: str, suffix: str = ".parquet") -> Place:
        """Path of the batch's table, or of a file of a data set that has no tables."""
        return self.path / f"{batch}{suffix}"

    def beside(self, batch: str, kind: str) -> Place:
        """Path of a file that belongs to a batch's table: kind "archive.tar" lies in `_archive/0003.tar`."""
        stem, _, suffix = kind.partition(".")
        return self.path / f"_{stem}" / f"{batch}.{suffix}"

    def scratch(self, batch: str, inputs: str) -> Path:
        """Local folder for unfinished work (checkpoints): kept when killed, removed when the stage has finished."""
        return self.unfinished / f".{batch}.{inputs[:16]}{_SCRATCH}"

    @property
    def unfinished(self) -> Path:
        """Local folder in which unfinished work lies: the data set's own, if it is local."""
        if isinstance(self.path, Path):
            return self.path
        return scratch_root() / hashlib.sha256(str(self.path).encode()).hexdigest()[:16]

    def table(self, batch: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one batch's table, or all of them in order of batch name.

        Raises:
            IncompleteError: see `names`.
            DamagedError: when a footer or a page does not match its checksum; the next run computes the batch again.
        """
        if batch is not None:
            with suppress(FileNotFoundError):
                return self._read(batch, columns)
            tables = []
        else:
            names, there = self.names(), {entry.name for entry in entries(self.path)}
            tables = [self._read(name, columns) for name in names if self.file(name).name in there]
        if not tables:
            raise IncompleteError(f"data set {self.name!r} holds no table in {self.path}")
        return pa.concat_tables(tables)

    def dataset(self) -> pyarrow.dataset.Dataset:
        """The tables of all batches as files that are read when they are asked; see `query`.

        Raises:
            IncompleteError: see `names`.
        """
        names, there = self.names(), {entry.name for entry in entries(self.path)}
        files = [file for name in names if (file := self.file(name)).name in there]
        if not files:
            raise IncompleteError(f"data set {self.name!r} holds no table in {self.path}")
        return files_of(files)

    def rejects(self) -> pa.Table:
        """What did not become a row, and why (`records.REJECTS`), over all batches."""
        there = {entry.name for entry in entries(self.beside(WHOLE, REJECTS_FILE).parent)}
        files = [file for name in self.names() if (file := self.beside(name, REJECTS_FILE)).name in there]
        return pa.concat_tables([REJECTS.empty_table(), *map(read_parquet, files)])

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The whole table as a data frame, for notebooks and small reports."""
        frame: pd.DataFrame = self.table(columns=columns).to_pandas(maps_as_pydicts="strict")
        return frame

    def write_table(self, batch: str, table: pa.Table) -> Place:
        """Write a batch's table atomically; returns its path."""
        write_parquet(self.file(batch), table)
        return self.file(batch)

    def write_commit(
        self, batch: str, *, inputs: str, rows: int, rejects: dict[str, int], files: Iterable[Place], ran: str = ""
    ) -> Commit:
        """Declare a batch finished: the last write of a batch.

        Args:
            batch: its name.
            inputs: see `Commit`.
            rows: see `Commit`.
            rejects: see `Commit`.
            files: those of the batch; a mapping of files to their records saves reading them again.
            ran: see `Commit`.
        """
        known = files if isinstance(files, Mapping) else {path: FileRecord.of(path) for path in files}
        records = {str(path).removeprefix(f"{self.path}/"): known[path] for path in sorted(known, key=str)}
        commit = Commit(inputs=inputs, rows=rows, rejects=rejects, files=records, ran=ran)
        write_json(self.path / _COMMITS / f"{batch}.json", asdict(commit))
        return commit

    def committed_at(self, batch: str) -> datetime:
        """When a batch's commit record was written, in UTC."""
        return datetime.fromtimestamp((self.path / _COMMITS / f"{batch}.json").stat().st_mtime, UTC)

    def renew(self, batch: str) -> None:
        """Write the commit record of a batch, if it has one, again: it is as good as on the day it was written."""
        commit = self.commit(batch)
        if commit is not None:
            write_json(self.path / _COMMITS / f"{batch}.json", asdict(commit))

    def withdraw(self, batch: str) -> None:
        """Remove a batch's commit record, before its files are written again."""
        remove(self.path / _COMMITS / f"{batch}.json")

    def finish(self, commits: Mapping[str, Commit]) -> None:
        """Declare the data set complete; remove what does not belong to it and what killed runs left."""
        if isinstance(self.path, Path):
            self.path.mkdir(parents=True, exist_ok=True)
        wanted = {_COMPLETE, *(f"{_COMMITS}/{name}.json" for name in commits)}
        wanted |= {name for commit in commits.values() for name in commit.files}
        for name in self._listed():
            if name not in wanted and not name.startswith(".git"):
                remove(self.path / name)
        for entry in entries(self.unfinished):
            if entry.n_bytes is None and entry.name.endswith(_SCRATCH):
                shutil.rmtree(self.unfinished / entry.name, ignore_errors=True)
        if self._completed() != sorted(commits):
            write_json(self.path / _COMPLETE, {"batches": sorted(commits)})

    def reopen(self) -> None:
        """Withdraw the declaration that the data set is complete, before some of its batches are computed again."""
        remove(self.path / _COMPLETE)

    def _read(self, batch: str, columns: Sequence[str] | None) -> pa.Table:
        file = self.file(batch)
        commit = self.commit(batch) if isinstance(file, Path) else None  # an object store checks what it gives
        record = commit.files.get(file.name) if commit else None
        try:
            if record is not None and record.footer is not None and footer_checksum(file) != record.footer:
                raise pa.ArrowInvalid("its footer is not the one that was written")
            return read_parquet(file, columns)
        except FileNotFoundError:
            raise
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk or the network failed, not the file
            if record is not None:
                self.withdraw(batch)
                self.reopen()
            raise DamagedError(
                f"{file} is damaged ({error}): run the same command again, batch {batch!r} of {self.name!r} is then "
                "computed anew"
            ) from error

    def _completed(self) -> list[str] | None:
        try:
            return list(orjson.loads(read_file(self.path / _COMPLETE))["batches"])
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None

    def _digest(self, batch: str, commit: Commit | None) -> str:
        if commit is None:
            raise IncompleteError(f"batch {batch!r} of data set {self.name!r} is not committed in {self.path}")
        return commit.digest

    def _size(self, name: str) -> int | None:
        try:
            return int((self.path / name).stat().st_size)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _listed(self) -> dict[str, Listed]:
        """Each file of the data set, by its name within the folder."""
        if not isinstance(self.path, Path):
            found = files_below(self.path).items()
            return {name: one for name, one in found if name.count("/") == 0 or re.fullmatch("_[^/]*/[^/]*", name)}
        listed: dict[str, Listed] = {}
        for name, n_bytes in entries(self.path):
            if n_bytes is not None:
                listed[name] = Listed(n_bytes, None)
            elif name.startswith("_"):
                inside = entries(self.path / name)
                listed |= {f"{name}/{inner}": Listed(size, None) for inner, size in inside if size is not None}
        return listed


def _is_reject(name: str) -> bool:
    return name.startswith("_rejects/")


def _commit_of(content: bytes | None, size_of: Callable[[str], int | None]) -> Commit | None:
    """A commit record, if it is whole and the files are as large as it says."""
    try:
        raw = orjson.loads(content or b"")
        files = {name: FileRecord(**record) for name, record in raw.pop("files").items()}
        is_so = all(size_of(name) == record.n_bytes for name, record in files.items())
        return Commit(files=files, **raw) if is_so else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
