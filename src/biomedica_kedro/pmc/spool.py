"""Where a batch's files lie before its tar is written: the spool of this run, and the archive of the last one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import pyarrow as pa

from biomedica_kedro.batches import BatchFolder
from biomedica_kedro.pmc.archive import SUFFIX
from biomedica_kedro.pmc.keep import Keep
from biomedica_kedro.pmc.metadata import RemoteFile
from biomedica_kedro.pmc.source import checked_key


class ArticleStore(Protocol):
    """Gives back the files of articles."""

    def read(self, article_id: str, name: str) -> bytes:
        """Content of one file."""
        ...


def is_intact(content: bytes, md5: str | None) -> bool:
    """Whether bytes have the md5 that the metadata name; true when they name none."""
    return md5 is None or hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


@dataclass(frozen=True, slots=True)
class Spool:
    """Whole files of unfinished batches, one file each: `{folder}/{article id}/{name}`."""

    folder: Path

    def find(self, article_id: str, file: RemoteFile) -> bytes | None:
        """A file that an interrupted run has fetched, if it is still what the metadata say."""
        try:
            content = self._path(article_id, file.name).read_bytes()
        except FileNotFoundError:
            return None
        return content if content and is_intact(content, file.md5) else None

    def read(self, article_id: str, name: str) -> bytes:
        """See `ArticleStore`."""
        return self._path(article_id, name).read_bytes()

    def write(self, article_id: str, name: str, content: bytes) -> None:
        """Store a file; it appears under its name when it is whole."""
        path = self._path(article_id, name)
        temporary = path.with_name(".unfinished-" + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest())
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        temporary.replace(path)

    def _path(self, article_id: str, name: str) -> Path:
        return self.folder / checked_key(article_id, name)


class KeptArchive:
    """The last run's tar of a batch, for the articles that have not changed since."""

    def __init__(self, archive: BatchFolder, batch: str, recipe: str) -> None:
        """Args: archive, batch: whose; recipe: digest of the options that decided what was archived."""
        self._batch = archive.file(batch, SUFFIX)
        self._keep = Keep(archive, batch)
        self._recipe = recipe
        self._etags: dict[str, str] = {}
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        notes = self._keep.notes()
        path = self._keep.file(SUFFIX)
        if notes.get("recipe") == self._recipe and path.is_file():
            self._etags = notes["etags"]
            for row in self._keep.rows():
                self._rows[row["article_id"]].append(row)
            self._file = path.open("rb")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def files(self, article_id: str, etag: str) -> list[tuple[str, str]]:
        """Names and kinds of an article's files, if all of them are there, unchanged and undamaged; else none."""
        if not etag or self._etags.get(article_id) != etag:
            return []
        rows = self._rows[article_id]
        is_whole = all(hashlib.sha256(self._content(row)).hexdigest() == row["sha256"] for row in rows)
        return [(row["member"], row["kind"]) for row in rows] if is_whole else []

    def read(self, article_id: str, name: str) -> bytes:
        """See `ArticleStore`."""
        return next(self._content(row) for row in self._rows[article_id] if row["member"] == name)

    def replace(self, index: pa.Table, etags: dict[str, str]) -> None:
        """Keep this run's tar for the next one; `etags` names the complete articles."""
        self._keep.replace(index, notes={"recipe": self._recipe, "etags": etags}, linked=self._batch)

    def _content(self, row: dict[str, Any]) -> bytes:
        if self._file is None:
            raise ValueError(f"the archive kept in {self._keep.file(SUFFIX)} is not open")
        self._file.seek(row["offset"])
        return self._file.read(row["n_bytes"])
