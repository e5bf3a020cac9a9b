"""The article archive: one plain tar a batch, and an index that says where each member's bytes lie.

The index (`records.ARCHIVE_INDEX`) makes one figure readable without the rest of the tar. Members are named
`{article_id}/{file name}`; the same files give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import ARCHIVE_INDEX, DataError, RejectReason, to_table
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.ranges import RangeReader
from biomedica_kedro.stages.tar import END, header_of, padding_of

ARCHIVE = "archive.tar"
_AHEAD = 64  # members that are read in one call of an object store, at most,
_BYTES_AHEAD = 32 << 20  # and their bytes, which are kept until the next call


class ArchiveWriter:
    """Write one batch's tar member by member; `index` is its table."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._rows: list[Mapping[str, object]] = []

    def add(self, article_id: str, name: str, content: bytes, *, kind: str) -> None:
        """Append one file.

        Args:
            article_id: "PMC10009416.1".
            name: file name without folder.
            content: the file's bytes.
            kind: "json", "xml" or "media".
        """
        self._file.write(header_of(f"{article_id}/{name}", len(content)))
        offset = self._file.tell()
        self._file.write(content)
        self._file.write(padding_of(len(content)))
        digest = hashlib.sha256(content).hexdigest()
        values = (article_id, name, kind, offset, len(content), digest)
        self._rows.append(dict(zip(ARCHIVE_INDEX.names, values, strict=True)))

    def index(self) -> pa.Table:
        """Rows of what was added, in order."""
        return to_table(self._rows, ARCHIVE_INDEX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._file.write(END)
        self._file.close()


class ArchiveReader:
    """Read members of one batch of the archive by article and file name; several threads may share a reader.

    From an object store, members of the same kind that follow are read along: stages read in the archive's order.
    """

    def __init__(self, archive: BatchFolder, batch: str) -> None:
        self.index = archive.table(batch)
        self._tar = archive.beside(batch, ARCHIVE)
        self._ranges, self._lock = RangeReader(), Lock()
        rows = self.index.to_pylist()
        self._places = {(row["article_id"], row["member"]): (row["offset"], row["n_bytes"]) for row in rows}
        self._following: dict[tuple[str, str], tuple[str, str]] = {}
        self._kinds = {(row["article_id"], row["member"]): row["kind"] for row in rows}
        self._ahead: dict[str, dict[tuple[str, str], bytes]] = {}  # by kind: text and metadata are read in turn
        if not isinstance(self._tar, Path):
            last: dict[str, tuple[str, str]] = {}
            for row in rows:
                member = row["article_id"], row["member"]
                if row["kind"] in last:
                    self._following[last[row["kind"]]] = member
                last[row["kind"]] = member

    def read(self, article_id: str, name: str) -> bytes:
        """Bytes of one member.

        Raises:
            DataError: MISSING_FILE when the archive holds no such member.
        """
        member = article_id, name
        if member not in self._places:
            raise DataError(RejectReason.MISSING_FILE, f"the archive holds no file {name!r} of {article_id}")
        with self._lock:  # what is read along and which files are open is shared
            kind = self._kinds[member]
            content = self._ahead.get(kind, {}).get(member)
            if content is None:
                members = self._run(member)
                found = self._ranges.read([(self._tar, *self._places[one]) for one in members])
                content = found[0]
                if len(members) > 1:
                    self._ahead[kind] = dict(zip(members, found, strict=True))
            return content

    def _run(self, member: tuple[str, str]) -> list[tuple[str, str]]:
        """A member and those read along with it."""
        run, n_bytes = [member], self._places[member][1]
        while len(run) < _AHEAD and (following := self._following.get(run[-1])) is not None:
            n_bytes += self._places[following][1]
            if n_bytes > _BYTES_AHEAD:
                break
            run.append(following)
        return run

    def files(self, article_id: str) -> list[str]:
        """Names of an article's files, in archive order."""
        return [name for owner, name in self._places if owner == article_id]

    def articles(self) -> Iterator[tuple[str, bytes]]:
        """Every article's id and XML bytes, in archive order."""
        for row in self.index.filter(pc.equal(self.index["kind"], "xml")).to_pylist():
            yield row["article_id"], self.read(row["article_id"], row["member"])

    def close(self) -> None:
        """Close the tar."""
        self._ranges.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
