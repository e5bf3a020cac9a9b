"""Read the metadata of a batch's articles, many at once: one row per article, with what could not be read and why.

An article whose etag is that of the last run is not asked for again, nor is one whose metadata a killed run has read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.batches import Batch
from biomedica_kedro.pmc.bounded import run_bounded
from biomedica_kedro.pmc.keep import Keep
from biomedica_kedro.pmc.metadata import (
    ARTICLE_METADATA,
    MAX_METADATA_BYTES,
    RemoteFile,
    metadata_name,
    parse_metadata,
)
from biomedica_kedro.pmc.outage import Outage
from biomedica_kedro.pmc.source import REMOVED, Source
from biomedica_kedro.pmc.spool import Spool
from biomedica_kedro.records import DataError, Options, RejectReason, to_table


class MetadataOptions(Options):
    """How to read metadata.

    Attributes:
        concurrency: articles asked for at once, unless the source stands fewer.
        max_failed_share: when more than this share of a batch's articles cannot be downloaded, the stage stops.
        attempt: raise it to try again what could not be read.
    """

    concurrency: int = Field(default=64, ge=1, le=1024)
    max_failed_share: float = Field(default=0.5, ge=0, le=1)
    attempt: int = Field(default=0, ge=0)


def read_metadata(batch: Batch, options: MetadataOptions) -> dict[str, pa.Table]:
    """Read the metadata of every article of a batch.

    Args:
        batch: inputs `article_source` and `article_inventory` (rows of `INVENTORY`).
        options: see `MetadataOptions`.
    Returns:
        `article_metadata`, as many rows as the inventory has.
    Raises:
        SourceError: when the source is down.
    """
    source = cast(Source, batch.inputs["article_source"])
    keep = Keep(batch.outputs["article_metadata"], batch.name)
    known = {(row["article_id"], row["etag"]): row for row in keep.rows() if row["problem"] is None}

    outage = Outage(options.max_failed_share, "read_metadata.max_failed_share")

    async def read(row: Mapping[str, Any]) -> Mapping[str, Any]:
        place = {name: row[name] for name in ("article_id", "etag", "location", "status")}
        if row["status"] == REMOVED:
            return place
        if (row["article_id"], row["etag"]) in known:
            return {**known[row["article_id"], row["etag"]], **place}
        facts = await _read_article(source, row, spool)
        is_transient = facts.get("problem") == RejectReason.DOWNLOAD_FAILED
        outage.count(f"{row['article_id']}: {facts['detail']}" if is_transient else None)
        return {**place, **facts}

    rows = batch.inputs["article_inventory"].to_pylist()
    limit = min(options.concurrency, source.articles_in_flight)
    with Spool(batch.scratch("article_metadata")) as spool:
        table = to_table(run_bounded(read, rows, limit=limit), ARTICLE_METADATA)
    outage.judge()
    keep.replace(table)
    return {"article_metadata": table}


async def _read_article(source: Source, row: Mapping[str, Any], spool: Spool) -> dict[str, object]:
    article_id = row["article_id"]
    file = RemoteFile(metadata_name(article_id), None)
    try:
        content = spool.find(article_id, file)
        if content is not None:
            metadata = parse_metadata(content, article_id)
        else:
            files = source.open_article(article_id, row["location"])
            content = await files.read(file.name, max_bytes=MAX_METADATA_BYTES)
            metadata = parse_metadata(content, article_id)
            spool.write(article_id, file.name, content)
    except DataError as error:
        return {"problem": error.reason.value, "detail": error.detail}
    names = set(ARTICLE_METADATA.names) - {"article_id", "etag", "location", "status", "problem", "detail"}
    return {name: getattr(metadata, name) for name in names}
