"""Which articles go on: filters, the version policy, and a row for every article that does not.

Conservation: every listed article version is either selected or has one row with the first reason that excludes it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from biomedica_kedro.pmc.identifiers import known_pmcid, pmcid_of
from biomedica_kedro.pmc.metadata import ARTICLE_METADATA
from biomedica_kedro.pmc.source import REMOVED
from biomedica_kedro.records import LicenseGroup, Options, RejectReason

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
        selected: `SELECTED_ARTICLES`, sorted by id.
        excluded: id and reason of every other listed version.
        license_summary: `LICENSE_SUMMARY`, counts by license and status.
        tombstones: `ARTICLE_TOMBSTONES`, removed and retracted articles.
    """

    selected: pa.Table
    excluded: list[tuple[str, RejectReason]]
    license_summary: pa.Table
    tombstones: pa.Table


def choose_articles(metadata: pa.Table, options: SelectOptions) -> Selection:
    """Choose the articles of a run.

    Args:
        metadata: `ARTICLE_METADATA`, every listed version.
        options: what to take.
    """
    reasons = _reasons(metadata, options)
    status = pa.array([reason or "selected" for reason in reasons], pa.string())
    selected = metadata.filter(pc.equal(status, "selected")).select(SELECTED_ARTICLES.names).sort_by("article_id")
    counts = Counter(zip(*(column.to_pylist() for column in _licenses(metadata)), status.to_pylist(), strict=True))
    rows = [(group, code, state, n) for (group, code, state), n in sorted(counts.items())]
    article_ids = metadata["article_id"].to_pylist()
    excluded = [(article_id, why) for article_id, why in zip(article_ids, reasons, strict=True) if why is not None]
    buried = [
        (article_id, known_pmcid(article_id), str(why))
        for article_id, why in excluded
        if why in (RejectReason.REMOVED, RejectReason.RETRACTED)
    ]
    return Selection(selected, excluded, _table(rows, LICENSE_SUMMARY), _table(sorted(buried), ARTICLE_TOMBSTONES))


def _reasons(metadata: pa.Table, options: SelectOptions) -> list[RejectReason | None]:
    latest = _latest_versions(metadata)
    reasons = [_reason(row, latest, options) for row in _rows(metadata)]
    kept = [n for n, reason in enumerate(reasons) if reason is None]
    article_ids = metadata["article_id"].to_pylist()
    for n in set(kept) - _sample(kept, article_ids, options):
        reasons[n] = RejectReason.NOT_SAMPLED
    return reasons


def _reason(row: Mapping[str, Any], latest: Mapping[str, str], options: SelectOptions) -> RejectReason | None:
    if row["status"] == REMOVED:
        return RejectReason.REMOVED
    if row["problem"] is not None:
        return RejectReason.UNREADABLE_METADATA
    checks = (
        (RejectReason.SUPERSEDED, latest[pmcid_of(row["article_id"])] != row["article_id"]),
        (RejectReason.RETRACTED, row["is_retracted"] and not options.include_retracted),
        (RejectReason.MANUSCRIPT, row["is_manuscript"] and not options.include_manuscripts),
        (RejectReason.HISTORICAL_OCR, row["is_historical_ocr"] and not options.include_historical_ocr),
        (RejectReason.LICENSE_GROUP, row["license_group"] not in options.license_groups),
        (RejectReason.JOURNAL, options.journals and not _is_journal(row["journal"], options.journals)),
        (RejectReason.DATE, not _is_in_period(row["publication_date"], options)),
        (RejectReason.NO_MEDIA, options.require_media and not row["image_names"]),
    )
    return next((reason for reason, excluded in checks if excluded), None)


def _latest_versions(metadata: pa.Table) -> dict[str, str]:
    """Per PMCID the version to take: published before manuscript, then the highest; `.2` without `.1` exists."""
    best: dict[str, tuple[bool, int, str]] = {}
    for row in _rows(metadata):
        if row["status"] != REMOVED and row["problem"] is None:
            rank = (not row["is_manuscript"], row["version"], row["article_id"])
            article = pmcid_of(row["article_id"])
            best[article] = max(best.get(article, rank), rank)
    return {article: article_id for article, (_, _, article_id) in best.items()}


def _sample(kept: Sequence[int], article_ids: Sequence[str], options: SelectOptions) -> set[int]:
    if options.sample_share == 1.0 and options.max_articles is None:
        return set(kept)
    draws = sorted((_draw(article_ids[n], options.seed), n) for n in kept)
    passed = [n for draw, n in draws if draw < options.sample_share]
    return set(passed[: options.max_articles])


def _draw(article_id: str, seed: int) -> float:
    digest = hashlib.sha256(f"sample:{seed}:{pmcid_of(article_id)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _is_journal(journal: str | None, journals: Sequence[str]) -> bool:
    return (journal or "").casefold() in {name.casefold().rstrip(".") for name in journals}


def _is_in_period(date: str | None, options: SelectOptions) -> bool:
    start, end = options.published_from, options.published_to
    if start is None and end is None:
        return True
    if date is None:
        return False
    return (start is None or date >= start[: len(date)]) and (end is None or date[: len(end)] <= end)


def _licenses(metadata: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    return pc.fill_null(metadata["license_group"], "unknown"), pc.fill_null(metadata["license_code"], "none")


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for chunk in table.to_batches(max_chunksize=65_536):
        yield from chunk.to_pylist()


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
