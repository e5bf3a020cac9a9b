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
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.records import REJECTS
from biomedica_kedro.stages.files import atomic_path, sha256_of, write_json
from biomedica_kedro.stages.place import Place, scratch_root

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "all"
_COMPLETE = "_complete.json"
_COMMITS = "_commits"
_REJECTS = "rejects.parquet"
_END_OF_PARQUET = 8  # length of the footer, and the magic number


class IncompleteError(Exception):
    """A data set was read before the stage that makes it had finished."""


class DamagedError(Exception):
    """A file is not what was written; its batch counts as not done from now on."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and sha256 of one committed file, and the checksum of a Parquet file's footer: its pages have theirs."""

    n_bytes: int
    sha256: str
    footer: int | None = None


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
        folder = self.path / _COMMITS
        names = [str(path.name).removesuffix(".json") for path in folder.iterdir()] if folder.is_dir() else []
        return sorted(name for name in names if self.commit(name) is not None)

    def commit(self, batch: str) -> Commit | None:
        """The record of a finished batch; None when there is none that is whole, or its files are not as it says."""
        try:
            raw = orjson.loads((self.path / _COMMITS / f"{batch}.json").read_bytes())
            files = {name: FileRecord(**record) for name, record in raw.pop("files").items()}
            if any((self.path / name).stat().st_size != record.n_bytes for name, record in files.items()):
                return None
            return Commit(files=files, **raw)
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def digest(self, batch: str | None = None) -> str:
        """Content digest of one batch, or of the whole data set."""
        if batch is not None:
            commit = self.commit(batch)
            if commit is None:
                raise IncompleteError(f"batch {batch!r} of data set {self.name!r} is not committed in {self.path}")
            return commit.digest
        return hashlib.sha256("".join(f"{name}:{self.digest(name)}\n" for name in self.names()).encode()).hexdigest()

    def file(self, batch: str, suffix: str = ".parquet") -> Place:
        """Path of the batch's table, or of a file of a data set that has no tables."""
        return self.path / f"{batch}{suffix}"

    def beside(self, batch: str, kind: str) -> Place:
        """Path of a file that belongs to a batch's table: kind "archive.tar" lies in `_archive/0003.tar`."""
        stem, _, suffix = kind.partition(".")
        return self.path / f"_{stem}" / f"{batch}.{suffix}"

    def scratch(self, batch: str, inputs: str) -> Path:
        """Local folder for unfinished work (checkpoints): kept when killed, removed when the stage has finished."""
        name = f".{batch}.{inputs[:16]}.scratch"
        if isinstance(self.path, Path):
            return self.path / name
        return scratch_root() / hashlib.sha256(str(self.path).encode()).hexdigest()[:16] / name

    def table(self, batch: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one batch's table, or all of them in order of batch name.

        Raises:
            IncompleteError: see `names`.
            DamagedError: when a footer or a page does not match its checksum; the next run computes the batch again.
        """
        names = self.names() if batch is None else [batch]
        tables = [self._read(name, columns) for name in names if self.file(name).is_file()]
        if not tables:
            raise IncompleteError(f"data set {self.name!r} holds no table in {self.path}")
        return pa.concat_tables(tables)

    def rejects(self) -> pa.Table:
        """What did not become a row, and why (`records.REJECTS`), over all batches."""
        files = [self.beside(name, _REJECTS) for name in self.names()]
        return pa.concat_tables([REJECTS.empty_table(), *(read_parquet(file) for file in files if file.is_file())])

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The whole table as a data frame, for notebooks and small reports."""
        frame: pd.DataFrame = self.table(columns=columns).to_pandas(maps_as_pydicts="strict")
        return frame

    def write_table(self, batch: str, table: pa.Table) -> Place:
        """Write a batch's table atomically; returns its path."""
        write_parquet(self.file(batch), table)
        return self.file(batch)

    def write_rejects(self, batch: str, table: pa.Table) -> Place:
        """Write a batch's rejects atomically; returns their path."""
        write_parquet(self.beside(batch, _REJECTS), table)
        return self.beside(batch, _REJECTS)

    def write_commit(
        self, batch: str, *, inputs: str, rows: int, rejects: dict[str, int], files: Iterable[Place], ran: str = ""
    ) -> Commit:
        """Declare a batch finished: the last write of a batch."""
        records = {str(path).removeprefix(f"{self.path}/"): _record(path) for path in sorted(files, key=str)}
        commit = Commit(inputs=inputs, rows=rows, rejects=rejects, files=records, ran=ran)
        write_json(self.path / _COMMITS / f"{batch}.json", asdict(commit))
        return commit

    def withdraw(self, batch: str) -> None:
        """Remove a batch's commit record, before its files are written again."""
        (self.path / _COMMITS / f"{batch}.json").unlink(missing_ok=True)

    def finish(self, commits: dict[str, Commit]) -> None:
        """Declare the data set complete; remove what does not belong to it and what killed runs left."""
        self.path.mkdir(parents=True, exist_ok=True)
        wanted = {f"{_COMMITS}/{name}.json" for name in commits}
        wanted |= {name for commit in commits.values() for name in commit.files}
        for folder in [self.path, *self._parts()]:
            for path in folder.iterdir():
                _remove_unless(path, wanted, prefix="" if folder == self.path else f"{folder.name}/")
        if self._completed() != sorted(commits):
            write_json(self.path / _COMPLETE, {"batches": sorted(commits)})

    def reopen(self) -> None:
        """Withdraw the declaration that the data set is complete, before some of its batches are computed again."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / _COMPLETE).unlink(missing_ok=True)

    def _read(self, batch: str, columns: Sequence[str] | None) -> pa.Table:
        file, commit = self.file(batch), self.commit(batch)
        record = commit.files.get(file.name) if commit else None
        try:
            if record is not None and record.footer is not None and footer_checksum(file) != record.footer:
                raise pa.ArrowInvalid("its footer is not the one that was written")
            return read_parquet(file, columns)
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
            return list(orjson.loads((self.path / _COMPLETE).read_bytes())["batches"])
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None

    def _parts(self) -> list[Place]:
        return [path for path in self.path.iterdir() if path.name.startswith("_") and path.is_dir()]


def read_parquet(path: Place, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file as a table, page checksums verified."""
    if isinstance(path, Path):
        return pq.read_table(path, columns=columns, page_checksum_verification=True, partitioning=None)
    with path.open("rb") as file:
        return pq.read_table(file, columns=columns, page_checksum_verification=True)


def footer_checksum(path: Place) -> int | None:
    """CRC-32 of a Parquet file's footer, which says what the columns are and where; None when there is none."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_OF_PARQUET))
        end = file.read()
        length = int.from_bytes(end[:4], "little") if end[4:] == b"PAR1" else size
        if length + _END_OF_PARQUET > size:
            return None
        file.seek(size - _END_OF_PARQUET - length)
        return zlib.crc32(file.read(length + _END_OF_PARQUET))


def read_rows(path: Place, start: int, n_rows: int) -> pa.Table:
    """Some rows of a Parquet file; only the row groups that hold them are read."""
    with path.open("rb") as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        ends = np.cumsum([reader.metadata.row_group(n).num_rows for n in range(reader.num_row_groups)])
        first, last = np.searchsorted(ends, [start, start + max(n_rows, 1) - 1], side="right")
        table = reader.read_row_groups(list(range(int(first), min(int(last) + 1, len(ends)))))
        return table.slice(start - int(ends[first - 1] if first else 0), n_rows)


def write_parquet(path: Place, table: pa.Table) -> None:
    """Write a table atomically, with page checksums so that rot is noticed on reading."""
    # A dictionary of the numbers of vectors saves nothing and triples the time to read them.
    has_vectors = any(pa.types.is_fixed_size_list(field.type) for field in table.schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True, use_dictionary=not has_vectors)


def _is_reject(name: str) -> bool:
    return name.startswith("_rejects/")


def _record(path: Place) -> FileRecord:
    footer = footer_checksum(path) if path.suffix == ".parquet" else None
    return FileRecord(path.stat().st_size, sha256_of(path), footer)


def _remove_unless(path: Any, wanted: set[str], *, prefix: str) -> None:
    """Remove a file, or the scratch folder of other inputs; what the data set's next update builds on stays."""
    if path.is_dir():
        if path.name.endswith(".scratch"):
            shutil.rmtree(path, ignore_errors=True)
    elif f"{prefix}{path.name}" not in wanted and path.name != _COMPLETE and not path.name.startswith(".git"):
        path.unlink(missing_ok=True)
