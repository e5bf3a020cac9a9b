"""What every source of articles has in common: the cloud's key layout, and the few questions ingestion asks.

    PMC10009416.1/PMC10009416.1.json     metadata: licence, flags, and the md5 of each file
    PMC10009416.1/PMC10009416.1.xml      full text
    PMC10009416.1/NPR2-43-85-g001.jpg    figures and supplements

A mirror, the cloud and old packages all answer in this layout, so selection, checks and the archive have one code path.
Source: README.txt of the bucket `pmc-oa-opendata`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import pyarrow as pa

from biomedica_kedro.pmc.file_names import DECODABLE_EXTENSIONS
from biomedica_kedro.pmc.identifiers import ARTICLE_ID
from biomedica_kedro.records import DataError, RejectReason

BUCKET = "pmc-oa-opendata"
LISTED, REMOVED = "listed", "removed"
IMAGE_SUFFIXES = tuple(f".{extension}" for extension in DECODABLE_EXTENSIONS)

# One row per article version: `etag` changes when any file of the article does; `location` is the source's own.
INVENTORY = pa.schema(
    [(name, pa.string()) for name in ("article_id", "etag", "last_modified", "location", "status")]
)  # fmt: skip

_FAILURES_BEFORE_JUDGING = 20
_FILE_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,255}")


class Origin(StrEnum):
    """What kind of source articles come from: what a published data set says of itself follows from it."""

    EMBEDDED = "embedded"
    CLOUD = "cloud"
    MIRROR = "mirror"
    PACKAGES = "packages"


class SourceError(Exception):
    """The source as a whole cannot be read: says what was looked for, where, and what to do."""


@dataclass(slots=True)
class Outage:
    """Counts articles that could not be had for reasons that may pass, and stops when it is the source that is down.

    A thin archive that looks complete is worse than a run that stops and says why.

    Attributes:
        max_share: the share of a batch's articles that may fail so.
        parameter: name of the parameter that says so, for the message.
    """

    max_share: float
    parameter: str
    n_done: int = 0
    failures: list[str] = field(default_factory=list)

    def count(self, failure: str | None) -> None:
        """Count an article, with what went wrong if something did.

        Raises:
            SourceError: when enough failed to tell that the source is down.
        """
        self.n_done += 1
        if failure is not None:
            self.failures.append(failure)
            if len(self.failures) >= _FAILURES_BEFORE_JUDGING:
                self.judge()

    def judge(self) -> None:
        """Decide on what was counted so far; to be called at the end of a batch.

        Raises:
            SourceError: when more than the allowed share failed.
        """
        if len(self.failures) > self.max_share * self.n_done:
            raise SourceError(
                f"{len(self.failures)} of {self.n_done} articles could not be downloaded, last {self.failures[-1]}. "
                "Check the network and the source, then run again: what is complete is not fetched twice "
                f"({self.parameter} says how much may fail)"
            )


class ArticleFiles(Protocol):
    """The files of one article version."""

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        """Content of one file.

        Raises:
            DataError: NOT_FOUND, TOO_LARGE, DOWNLOAD_FAILED (worth another try later), or what ails the package.
        """
        ...

    async def sizes(self) -> Mapping[str, int]:
        """Bytes of each file by name, without reading them."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where articles come from. Cheap to make, to copy and to send to a worker."""

    @property
    def articles_in_flight(self) -> int:
        """How many articles this source stands being read at once."""
        ...

    def list_articles(self, pmcids: Collection[str] | None = None) -> pa.Table:
        """Every article version there is, or those of some PMCIDs.

        Returns:
            Table with the columns of `INVENTORY`, sorted by article id.
        Raises:
            SourceError: when the listing cannot be read.
        """
        ...

    def open_article(self, article_id: str, location: str) -> ArticleFiles:
        """Handle on the files of an article; nothing is read yet."""
        ...


def origin_of(source: object) -> Origin:
    """The kind of a source; one of somebody's own class counts as a mirror unless it says otherwise."""
    return Origin(getattr(source, "origin", Origin.MIRROR))


def checked_key(article_id: str, name: str) -> str:
    """Key of an article's file, if it is one that may be asked for: `PMC<digits>.<version>/<plain file name>`.

    Raises:
        DataError: FORBIDDEN_KEY for folders, hidden files, control characters and foreign ids.
    """
    if not ARTICLE_ID.fullmatch(article_id) or not _FILE_NAME.fullmatch(name):
        raise DataError(RejectReason.FORBIDDEN_KEY, f"{article_id}/{name!r} is not PMC<number>.<version>/<file name>")
    return f"{article_id}/{name}"


def inventory_table(rows: Collection[tuple[str, str, str, str]]) -> pa.Table:
    """Inventory of `(article_id, etag, last_modified, location)` rows, sorted, each article once (the first wins)."""
    first = {row[0]: row for row in sorted(rows, reverse=True)}
    columns = list(zip(*(first[article_id] for article_id in sorted(first)), strict=True)) or [()] * 4
    return pa.table([pa.array(column, pa.string()) for column in (*columns, [LISTED] * len(first))], schema=INVENTORY)
