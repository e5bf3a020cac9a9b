"""Where the batches of one data set lie, and the commit records that say which of them are done.

    articles/
      0003.parquet          the files of batch 0003, whatever their suffixes
      0003.commit.json      written last: inputs digest, rows, sha256 and size of each file
      _complete.json        written when every batch of the data set is committed

There is no database: the records are the ledger. Names that begin with a dot are temporary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.batches.files import TEMPORARY_SUFFIX, atomic_path, sha256_of, write_json

if TYPE_CHECKING:
    import pandas as pd

_COMPLETE = "_complete.json"
_COMMIT = ".commit.json"


class IncompleteError(Exception):
    """A data set was read before the stage that makes it had finished."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and sha256 of one committed file."""

    n_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Record of one finished batch.

    Attributes:
        inputs: digest of everything the batch was computed from (data, parameters, code of the stage).
        code: version of the package that computed it.
        rows: rows of the batch's table, 0 when it has none.
        files: the batch's files by name.
    """

    inputs: str
    code: str
    rows: int = 0
    files: dict[str, FileRecord] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 over the content of the batch's files."""
        content = sorted((name, record.sha256) for name, record in self.files.items())
        return hashlib.sha256(orjson.dumps(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """Handle on a data set kept batch by batch in one folder; cheap to make, to copy and to send to a worker."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the data set: the folder's name."""
        return self.path.name

    def is_complete(self) -> bool:
        """Whether every batch of the data set is committed."""
        return (self.path / _COMPLETE).is_file()

    def names(self) -> list[str]:
        """Names of the batches, sorted.

        Raises:
            IncompleteError: when the stage that makes the data set has not finished.
        """
        if not self.is_complete():
            n_done = len(list(self.path.glob(f"*{_COMMIT}"))) if self.path.is_dir() else 0
            raise IncompleteError(
                f"data set {self.name!r} is not complete ({n_done} batches committed in {self.path}): "
                "run the pipeline that makes it first, or `kedro run` for all of them"
            )
        return list(orjson.loads((self.path / _COMPLETE).read_bytes())["batches"])

    def commit(self, batch: str) -> Commit | None:
        """The record of a finished batch; None when it is not finished or its files are gone or of another size."""
        try:
            raw = orjson.loads((self.path / f"{batch}{_COMMIT}").read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        files = {name: FileRecord(**record) for name, record in raw.pop("files").items()}
        for name, record in files.items():
            path = self.path / name
            if not path.is_file() or path.stat().st_size != record.n_bytes:
                return None
        return Commit(files=files, **raw)

    def digest(self, batch: str | None = None) -> str:
        """Content digest of one batch, or of the whole data set."""
        if batch is not None:
            commit = self.commit(batch)
            if commit is None:
                raise IncompleteError(f"batch {batch!r} of data set {self.name!r} is not committed in {self.path}")
            return commit.digest
        return hashlib.sha256("".join(f"{name}:{self.digest(name)}\n" for name in self.names()).encode()).hexdigest()

    def file(self, batch: str, suffix: str = ".parquet") -> Path:
        """Path of one of a batch's files."""
        return self.path / f"{batch}{suffix}"

    def scratch(self, batch: str, inputs: str) -> Path:
        """Folder for unfinished work (checkpoints): kept when killed, removed when the batch is committed."""
        return self.path / f".{batch}.{inputs[:16]}.scratch"

    def table(self, batch: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one batch's table, or all of them in order of batch name.

        Raises:
            IncompleteError: see `names`.
            OSError: when a page does not match its checksum.
        """
        names = self.names() if batch is None else [batch]
        tables = [self._read(name, columns) for name in names if self.file(name).is_file()]
        if not tables:
            raise IncompleteError(f"data set {self.name!r} holds no table in {self.path}")
        return pa.concat_tables(tables)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The whole table as a data frame, for notebooks and small reports."""
        frame: pd.DataFrame = self.table(columns=columns).to_pandas(maps_as_pydicts="strict")
        return frame

    def write_table(self, batch: str, table: pa.Table) -> Path:
        """Write a batch's table atomically, with page checksums so that rot is noticed on reading."""
        # A dictionary of the numbers of vectors saves nothing and triples the time to read them.
        has_vectors = any(pa.types.is_fixed_size_list(field.type) for field in table.schema)
        with atomic_path(self.file(batch)) as temporary:
            pq.write_table(
                table, temporary, compression="zstd", write_page_checksum=True, use_dictionary=not has_vectors
            )
        return self.file(batch)

    def write_commit(self, batch: str, *, inputs: str, code: str, rows: int, files: Sequence[Path]) -> Commit:
        """Declare a batch finished; the last write of a batch."""
        records = {path.name: FileRecord(path.stat().st_size, sha256_of(path)) for path in sorted(files)}
        commit = Commit(inputs=inputs, code=code, rows=rows, files=records)
        write_json(self.path / f"{batch}{_COMMIT}", asdict(commit))
        return commit

    def finish(self, batches: Sequence[str]) -> None:
        """Declare the data set complete; remove batches that no longer belong to it and what killed runs left."""
        wanted = {_COMPLETE}
        for name in batches:
            commit = self.commit(name)
            wanted |= {f"{name}{_COMMIT}", *(commit.files if commit else ())}
        for path in self.path.iterdir():
            if path.is_file() and path.name not in wanted and not path.name.startswith(".git"):
                path.unlink()
        record = {"batches": sorted(batches)}
        if not self.is_complete() or orjson.loads((self.path / _COMPLETE).read_bytes()) != record:
            write_json(self.path / _COMPLETE, record)

    def reopen(self) -> None:
        """Withdraw the declaration that the data set is complete, before some of its batches are computed again."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / _COMPLETE).unlink(missing_ok=True)

    def _read(self, batch: str, columns: Sequence[str] | None) -> pa.Table:
        return pq.read_table(self.file(batch), columns=columns, page_checksum_verification=True, partitioning=None)


def is_temporary(path: Path) -> bool:
    """Whether a file is the unfinished work of a writer."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)
