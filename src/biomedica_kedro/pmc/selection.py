"""Which articles go on: filters, the version policy, and a row for every article that does not.

Conservation: every listed article version is either selected or has one row with the first reason that excludes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import Field, field_validator

from biomedica_kedro.pmc.metadata import ARTICLE_METADATA
from biomedica_kedro.pmc.source import REMOVED
from biomedica_kedro.records import LicenseGroup, Options, RejectReason
from biomedica_kedro.stages.query import database, read_as, rows_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")

SELECTED_ARTICLES = pa.schema(
    [field for field in ARTICLE_METADATA if field.name not in ("status", "problem", "detail")]
)
LICENSE_SUMMARY = pa.schema(
    [("license_group", pa.string()), ("license_code", pa.string()), ("status", pa.string()), ("articles", pa.int64())]
)
ARTICLE_TOMBSTONES = pa.schema([(name, pa.string()) for name in ("article_id", "pmcid", "reason")])


class SelectOptions(Options):
    """Which articles to take.

    Attributes:
        license_groups: groups of licenses to take.
        published_from: earliest date of publication, "2020", "2020-06" or "2020-06-30"; undated articles are excluded.
        published_to: latest date, of the same form, included.
        journals: names as in the citation, case does not matter; empty takes all.
        require_media: only articles that come with at least one image file.
        include_retracted: take retracted articles too; they stay flagged.
        include_manuscripts: take author manuscripts too.
        include_historical_ocr: take scanned articles whose text was recognized by a machine.
        max_articles: take at most so many.
        sample_share: take this share of those that pass, chosen by a hash of PMCID and seed: stable as PMC grows.
        seed: chooses another sample.
    """

    license_groups: tuple[LicenseGroup, ...] = (LicenseGroup.COMMERCIAL, LicenseGroup.NONCOMMERCIAL, LicenseGroup.OTHER)
    published_from: str | None = None
    published_to: str | None = None
    journals: tuple[str, ...] = ()
    require_media: bool = True
    include_retracted: bool = False
    include_manuscripts: bool = False
    include_historical_ocr: bool = False
    max_articles: int | None = Field(default=None, ge=1)
    sample_share: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0

    @field_validator("published_from", "published_to", mode="before")
    @classmethod
    def _check_date(cls, value: object) -> str | None:
        if value is None:
            return None
        if not _DATE.fullmatch(str(value)):
            raise ValueError(f"expected a date like 2020, 2020-06 or 2020-06-30, got {value!r}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected articles, what was excluded by which reason, and the ids that published snapshots must drop.

    Attributes:
        selected: `SELECTED_ARTICLES`, sorted by id; read piece by piece, once, and to its end.
        excluded: id and reason of every other listed version, sorted by id; to be read before `selected`.
        license_summary: `LICENSE_SUMMARY`, counts by license and status.
        tombstones: `ARTICLE_TOMBSTONES`, removed and retracted articles.
    """

    selected: pa.RecordBatchReader
    excluded: Iterator[tuple[str, RejectReason]]
    license_summary: pa.Table
    tombstones: pa.Table


def choose_articles(metadata: pa.Table | pyarrow.dataset.Dataset, options: SelectOptions) -> Selection:
    """Choose the articles of a run; memory does not grow with their number.

    Args:
        metadata: `ARTICLE_METADATA`, every listed version.
        options: what to take.
    """
    stack = ExitStack()
    connection = stack.enter_context(database())
    read_as(connection, "metadata", metadata)
    connection.execute(_JUDGED, _parameters(connection, options))
    if options.sample_share < 1.0 or options.max_articles is not None:
        limit = -1 if options.max_articles is None else options.max_articles
        connection.execute(_SAMPLED, {"seed": str(options.seed), "share": options.sample_share, "limit": limit})
    summary = connection.sql(_SUMMARY).to_arrow_table().cast(LICENSE_SUMMARY)
    tombstones = connection.sql(_TOMBSTONES).to_arrow_table().cast(ARTICLE_TOMBSTONES)

    def excluded() -> Iterator[tuple[str, RejectReason]]:
        for some in rows_of(connection.sql(_EXCLUDED)):
            for article_id, reason in zip(*(column.to_pylist() for column in some.columns), strict=True):
                yield article_id, RejectReason(reason)

    def selected() -> Iterator[pa.RecordBatch]:
        with stack:
            for some in rows_of(connection.sql(_SELECTED)):
                yield some.cast(SELECTED_ARTICLES)

    reader = pa.RecordBatchReader.from_batches(SELECTED_ARTICLES, selected())
    return Selection(reader, excluded(), summary, tombstones)


def _parameters(connection: duckdb.DuckDBPyConnection, options: SelectOptions) -> dict[str, object]:
    """What `_JUDGED` asks of the options; journals are compared here, whose case folding SQL does not know."""
    journals = None
    if options.journals:
        wanted = {name.casefold().rstrip(".") for name in options.journals}
        known = connection.execute("SELECT DISTINCT journal FROM metadata WHERE journal IS NOT NULL").fetchall()
        journals = [name for (name,) in known if name.casefold() in wanted]
    return {
        "retracted": options.include_retracted, "manuscripts": options.include_manuscripts,
        "ocr": options.include_historical_ocr, "groups": [str(group) for group in options.license_groups],
        "journals": journals, "from": options.published_from, "to": options.published_to,
        "media": options.require_media,
    }  # fmt: skip


# Per PMCID the version to take: published before manuscript, then the highest; `.2` without `.1` exists.
# The first reason that excludes an article counts.
_JUDGED = f"""
CREATE TABLE judged AS
WITH latest AS (
    SELECT split_part(article_id, '.', 1) AS article,
           max({{'published': NOT is_manuscript, 'version': version, 'article_id': article_id}}).article_id AS latest
    FROM metadata WHERE status <> '{REMOVED}' AND problem IS NULL GROUP BY article
)
SELECT article_id, coalesce(license_group, 'unknown') AS license_group, coalesce(license_code, 'none') AS license_code,
    CASE
        WHEN status = '{REMOVED}' THEN '{RejectReason.REMOVED}'
        WHEN problem IS NOT NULL THEN '{RejectReason.UNREADABLE_METADATA}'
        WHEN latest <> article_id THEN '{RejectReason.SUPERSEDED}'
        WHEN is_retracted AND NOT $retracted THEN '{RejectReason.RETRACTED}'
        WHEN is_manuscript AND NOT $manuscripts THEN '{RejectReason.MANUSCRIPT}'
        WHEN is_historical_ocr AND NOT $ocr THEN '{RejectReason.HISTORICAL_OCR}'
        WHEN NOT coalesce(list_contains($groups::VARCHAR[], license_group), false) THEN '{RejectReason.LICENSE_GROUP}'
        WHEN NOT coalesce(list_contains($journals::VARCHAR[], journal), $journals::VARCHAR[] IS NULL)
            THEN '{RejectReason.JOURNAL}'
        WHEN NOT coalesce(publication_date >= left($from::VARCHAR, len(publication_date)), $from::VARCHAR IS NULL)
            OR NOT coalesce(left(publication_date, len($to::VARCHAR)) <= $to::VARCHAR, $to::VARCHAR IS NULL)
            THEN '{RejectReason.DATE}'
        WHEN $media AND coalesce(len(image_names), 0) = 0 THEN '{RejectReason.NO_MEDIA}'
    END AS reason
FROM metadata LEFT JOIN latest ON split_part(article_id, '.', 1) = latest.article
"""
_SAMPLED = f"""
UPDATE judged SET reason = '{RejectReason.NOT_SAMPLED}' WHERE reason IS NULL AND article_id NOT IN (
    SELECT article_id FROM (
        SELECT article_id, row_number() OVER (ORDER BY draw, article_id) AS place FROM (
            SELECT article_id, ('0x' || left(sha256('sample:' || $seed || ':' || split_part(article_id, '.', 1)), 16))
                ::UBIGINT::DOUBLE / {float(2**64)} AS draw
            FROM judged WHERE reason IS NULL
        ) WHERE draw < $share
    ) WHERE $limit < 0 OR place <= $limit
)
"""
_SUMMARY = """
SELECT license_group, license_code, coalesce(reason, 'selected') AS status, count(*) AS articles
FROM judged GROUP BY ALL ORDER BY ALL
"""
_TOMBSTONES = f"""
SELECT article_id, nullif(regexp_extract(article_id, '^PMC[1-9][0-9]*'), '') AS pmcid, reason
FROM judged WHERE reason IN ('{RejectReason.REMOVED}', '{RejectReason.RETRACTED}') ORDER BY article_id
"""
_EXCLUDED = "SELECT article_id, reason FROM judged WHERE reason IS NOT NULL ORDER BY article_id"
_SELECTED = f"""
SELECT {", ".join(SELECTED_ARTICLES.names)} FROM metadata
WHERE article_id IN (SELECT article_id FROM judged WHERE reason IS NULL) ORDER BY article_id
"""
