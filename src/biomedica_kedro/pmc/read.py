"""Read the metadata of a batch's articles, many at once: one row per article, with what could not be read and why.

An article whose etag is that of the last run is not asked for again, nor is one whose metadata a killed run has read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.http import run_bounded
from biomedica_kedro.pmc.fetched_files import FetchedFiles
from biomedica_kedro.pmc.metadata import ARTICLE_METADATA, MAX_METADATA_BYTES, RemoteFile, metadata_name, parse_metadata
from biomedica_kedro.pmc.source import REMOVED, Outage, Source
from biomedica_kedro.records import HOW, DataError, Options, RejectReason, to_table

Row: TypeAlias = Mapping[str, Any]


class MetadataOptions(Options):
    """How to read metadata.

    Attributes:
        concurrency: articles asked for at once, unless the source stands fewer.
        max_failed_share: when more than this share of a batch's articles cannot be downloaded, the stage stops.
        attempt: raise it to try again what could not be read.
    """

    concurrency: Annotated[int, HOW] = Field(default=64, ge=1, le=1024)
    max_failed_share: Annotated[float, HOW] = Field(default=0.5, ge=0, le=1)
    attempt: int = Field(default=0, ge=0)


def read_articles(
    rows: Sequence[Row], source: Source, fetched: FetchedFiles, known: Sequence[Row], options: MetadataOptions
) -> pa.Table:
    """Read the metadata of some articles.

    Args:
        rows: of `INVENTORY`.
        source: where they lie.
        fetched: keeps what was read, should the run be killed.
        known: rows of the last run; an article of the same etag is not asked for again.
        options: see `MetadataOptions`.
    Returns:
        `ARTICLE_METADATA`, a row an article, in their order.
    Raises:
        SourceError: when the source is down.
    """
    readable = {(row["article_id"], row["etag"]): row for row in known if row["problem"] is None}
    outage = Outage(options.max_failed_share, "read_metadata.max_failed_share")

    async def read(row: Row) -> Row:
        place = {name: row[name] for name in ("article_id", "etag", "location", "status")}
        if row["status"] == REMOVED:
            return place
        if (row["article_id"], row["etag"]) in readable:
            return {**readable[row["article_id"], row["etag"]], **place}
        facts = await _read_article(source, row, fetched)
        is_transient = facts.get("problem") == RejectReason.DOWNLOAD_FAILED
        outage.count(f"{row['article_id']}: {facts['detail']}" if is_transient else None)
        return {**place, **facts}

    limit = min(options.concurrency, source.articles_in_flight)
    table = to_table(run_bounded(read, rows, limit=limit), ARTICLE_METADATA)
    outage.judge()
    return table


async def _read_article(source: Source, row: Row, fetched: FetchedFiles) -> dict[str, object]:
    article_id = row["article_id"]
    file = RemoteFile(metadata_name(article_id), None)
    try:
        content = fetched.find(article_id, file)
        if content is not None:
            metadata = parse_metadata(content, article_id)
        else:
            files = source.open_article(article_id, row["location"])
            content = await files.read(file.name, max_bytes=MAX_METADATA_BYTES)
            metadata = parse_metadata(content, article_id)
            fetched.write(article_id, file.name, content)
    except DataError as error:
        return {"problem": error.reason.value, "detail": error.detail}
    names = set(ARTICLE_METADATA.names) - {"article_id", "etag", "location", "status", "problem", "detail"}
    return {name: getattr(metadata, name) for name in names}
