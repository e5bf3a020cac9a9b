"""Where a batch's files lie before its tar is written: what this run fetched, and the archive of the last one."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self
from uuid import uuid4

import orjson
import pyarrow as pa

from biomedica_kedro.pmc.archive import ARCHIVE
from biomedica_kedro.pmc.metadata import RemoteFile
from biomedica_kedro.pmc.source import checked_key
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place
from biomedica_kedro.stages.previous_batch import PreviousBatch
from biomedica_kedro.stages.ranges import RangeReader

_PART = ".part"
_SUFFIX = ".tar"
_MAX_LINE = 4096


class ArticleStore(Protocol):
    """Gives back the files of articles."""

    def read(self, article_id: str, name: str) -> bytes:
        """Content of one file."""
        ...


def is_intact(content: bytes, md5: str | None) -> bool:
    """Whether bytes have the md5 that the metadata name; true when they name none."""
    return md5 is None or hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


class FetchedFiles:
    """Whole files of an unfinished batch, appended to one file for each run: a line that describes, then the bytes.

    A killed run leaves at most one file cut short at the end of its part, which the next run, writing a part of its
    own, does not find. A file of its own for each would cost more than all the rest of fetching it.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder: of the batch's unfinished work; parts of killed runs are read, never changed."""
        self._places: dict[str, _Place] = {}
        self._open = ExitStack()
        for path in sorted(folder.glob(f"*{_PART}")):
            self._places |= dict(_places(self._open.enter_context(path.open("rb"))))
        self._part = self._open.enter_context((folder / f"{uuid4().hex}{_PART}").open("xb+", buffering=0))
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def find(self, article_id: str, file: RemoteFile) -> bytes | None:
        """A file that an interrupted run has fetched, if it is still what the metadata say."""
        key = checked_key(article_id, file.name)
        place = self._places.get(key)
        content = place.read() if place is not None else b""
        return content if place is not None and place.is_whole(key, content) and is_intact(content, file.md5) else None

    def read(self, article_id: str, name: str) -> bytes:
        """See `ArticleStore`."""
        return self._places[f"{article_id}/{name}"].read()

    def write(self, article_id: str, name: str, content: bytes) -> None:
        """Store a file.

        Raises:
            OSError: when the disk is full.
        """
        key = checked_key(article_id, name)
        checksum = _checksum(key, content)
        record = orjson.dumps((key, len(content), checksum), option=orjson.OPT_APPEND_NEWLINE) + content
        n_written = 0
        while n_written < len(record):
            n_written += os.pwrite(self._part.fileno(), record[n_written:], self._end + n_written)
        self._end += len(record)
        self._places[key] = _Place(self._part, self._end - len(content), len(content), checksum)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file's bytes lie in a part."""

    file: BinaryIO | FileIO
    start: int
    n_bytes: int
    checksum: int

    def read(self) -> bytes:
        return os.pread(self.file.fileno(), self.n_bytes, self.start)

    def is_whole(self, key: str, content: bytes) -> bool:
        return len(content) == self.n_bytes and _checksum(key, content) == self.checksum


def _checksum(key: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(key.encode()))


def _places(part: BinaryIO) -> Iterator[tuple[str, _Place]]:
    """What a part holds, up to where it was cut short or is damaged."""
    size = os.fstat(part.fileno()).st_size
    while line := part.readline(_MAX_LINE):
        try:
            key, n_bytes, checksum = orjson.loads(line)
        except (orjson.JSONDecodeError, ValueError, TypeError):
            return
        place = _Place(part, part.tell(), n_bytes, checksum)
        if not place.start <= part.seek(place.start + n_bytes) <= size:
            return
        yield key, place


class PreviousArchive:
    """The last run's tar of a batch, for the articles that have not changed since."""

    def __init__(self, archive: BatchFolder, batch: str, recipe: str) -> None:
        """Args: archive, batch: whose; recipe: digest of the options that decided what was archived."""
        self._batch = archive.beside(batch, ARCHIVE)
        self._previous = PreviousBatch(archive, batch)
        self._recipe = recipe
        self._etags: dict[str, str] = {}
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._open: Place | None = None
        self._ranges = RangeReader()
        self._n_bytes = 0

    def __enter__(self) -> Self:
        notes = self._previous.notes()
        path = self._previous.file(_SUFFIX) if isinstance(self._batch, Path) else self._batch
        if notes.get("recipe") == self._recipe and path.is_file():
            self._etags = notes["etags"]
            for row in self._previous.rows():
                self._rows[row["article_id"]].append(row)
            self._open, self._n_bytes = path, path.stat().st_size
        return self

    def __exit__(self, *_: object) -> None:
        self._ranges.close()
        self._open = None

    def files(self, article_id: str, etag: str) -> list[tuple[str, str]]:
        """Names and kinds of an article's files, if all of them are there, unchanged and undamaged; else none."""
        if not etag or self._etags.get(article_id) != etag:
            return []
        rows = self._rows[article_id]
        if any(row["offset"] + row["n_bytes"] > self._n_bytes for row in rows):
            return []
        contents = zip(rows, self._contents(rows), strict=True)
        is_whole = all(hashlib.sha256(content).hexdigest() == row["sha256"] for row, content in contents)
        return [(row["member"], row["kind"]) for row in rows] if is_whole else []

    def read(self, article_id: str, name: str) -> bytes:
        """See `ArticleStore`."""
        return self._contents([row for row in self._rows[article_id] if row["member"] == name])[0]

    def replace(self, index: pa.Table, etags: dict[str, str]) -> None:
        """Keep this run's tar for the next one; `etags` names the complete articles."""
        self._previous.replace(index, notes={"recipe": self._recipe, "etags": etags}, linked=self._batch)

    def _contents(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        path = self._open
        if path is None:
            raise ValueError(f"the archive kept in {self._previous.file(_SUFFIX)} is not open")
        return self._ranges.read([(path, row["offset"], row["n_bytes"]) for row in rows])
