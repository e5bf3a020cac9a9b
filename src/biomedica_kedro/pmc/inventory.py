"""The daily inventory: a manifest that names gzipped CSV parts, one row per metadata JSON.

    inventory-reports/pmc-oa-opendata/metadata/<stamp>/manifest.json     -> .files[].key, .fileSchema
    inventory-reports/pmc-oa-opendata/metadata/data/<uuid>.csv.gz        no header

The README's prose lists the columns in another order than the rows have: the manifest's `fileSchema` decides, else the
order seen in the rows. Source: README.txt of the inventory reports.
"""

from __future__ import annotations

import hashlib
import logging
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pydantic import field_validator

from biomedica_kedro.pmc.identifiers import pmcid_of
from biomedica_kedro.pmc.source import BUCKET, INVENTORY, LISTED, REMOVED, Source, SourceError
from biomedica_kedro.records import Options

logger = logging.getLogger(__name__)

REPORTS = f"inventory-reports/{BUCKET}/metadata"

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\dZ")
_METADATA_KEY = r"^metadata/(?P<article_id>PMC\d+\.\d+)\.json$"
_PMCID = re.compile(r"PMC\d+")
_PARTIAL = b"biomedica.partial"
_COLUMNS_SEEN = ("bucket", "key", "lastmodifieddate", "etag")


class ListOptions(Options):
    """What to list.

    Attributes:
        pmcids: these articles only, "PMC10009416" each.
        query: the open articles that a query in PMC's syntax finds, e.g. `cc_by_license[Filter] AND glioma`; together
            with `pmcids`, both. Without either, everything the source offers is listed.
    """

    pmcids: tuple[str, ...] = ()
    query: str | None = None

    @field_validator("pmcids")
    @classmethod
    def _check_pmcids(cls, pmcids: tuple[str, ...]) -> tuple[str, ...]:
        for pmcid in pmcids:
            if not _PMCID.fullmatch(pmcid):
                raise ValueError(f"expected PMCIDs like PMC10009416, got {pmcid!r}")
        return pmcids


def list_some(source: Source, options: ListOptions, find_articles: Callable[[str], Collection[str]]) -> pa.Table:
    """The inventory of a source: of everything, or of the articles asked for, then marked as partial.

    Args:
        source: what is listed.
        options: what is asked for.
        find_articles: PMCIDs that a query finds.
    """
    if not options.pmcids and options.query is None:
        return source.list_articles()
    found = find_articles(options.query) if options.query is not None else ()
    return partial(source.list_articles(frozenset(options.pmcids) | frozenset(found)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of one inventory, each with its md5 where the manifest tells it, and the columns of their rows."""

    parts: tuple[tuple[str, str | None], ...]
    columns: tuple[str, ...]


def newest_stamp(names: Iterable[str]) -> str | None:
    """The newest inventory among the entries of the reports folder; `hive/` and `data/` are none."""
    return max((name for name in names if _STAMP.fullmatch(name)), default=None)


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        SourceError: when it is not a manifest, or its rows hold no key and ETag.
    """
    try:
        raw = orjson.loads(content)
        parts = tuple((str(file["key"]), file.get("MD5checksum")) for file in raw["files"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(f"not an inventory manifest ({type(error).__name__}: {error}): {content[:80]!r}") from error
    schema = raw.get("fileSchema")
    columns = tuple(name.strip().lower() for name in schema.split(",")) if schema else _COLUMNS_SEEN
    if not {"key", "etag"} <= set(columns):
        raise SourceError(f"the inventory's rows hold {', '.join(columns)}; expected Key and ETag among them")
    return Manifest(parts, columns)


def read_inventory(manifest: Manifest, read: Callable[[str], bytes], pmcids: Collection[str] | None = None) -> pa.Table:
    """Every article version of an inventory, sorted by article id.

    Args:
        manifest: what to read.
        read: gives the bytes of a key.
        pmcids: keep only these, if given.
    Raises:
        SourceError: when a part is damaged: a short inventory would look like removed articles.
    """
    tables = [_parse_part(key, read(key), md5, manifest.columns) for key, md5 in manifest.parts]
    table = _once(pa.concat_tables([INVENTORY.empty_table(), *tables]))
    if pmcids is not None:
        wanted = pa.array(sorted(pmcids), pa.string())
        owners = pa.array([pmcid_of(article_id) for article_id in table["article_id"].to_pylist()], pa.string())
        table = table.filter(pc.is_in(owners, wanted))
    return table.sort_by("article_id").combine_chunks()


def with_removed(table: pa.Table, last: pa.Table) -> pa.Table:
    """The inventory, and with it the articles that only the last one lists, marked as removed.

    Args:
        table: the new inventory. When it is `partial` (some PMCIDs only), nothing counts as removed.
        last: the inventory before it.
    """
    if is_partial(table):
        return table
    gone = last.filter(pc.invert(pc.is_in(last["article_id"], table["article_id"])))
    status = pa.array([REMOVED] * len(gone), pa.string())
    gone = gone.set_column(gone.schema.get_field_index("status"), INVENTORY.field("status"), status)
    return pa.concat_tables([table, gone]).sort_by("article_id").combine_chunks()


def partial(table: pa.Table) -> pa.Table:
    """Mark an inventory as one of some articles only."""
    return table.replace_schema_metadata({_PARTIAL: "yes"})


def is_partial(table: pa.Table) -> bool:
    """Whether an inventory lists some articles only."""
    return _PARTIAL in (table.schema.metadata or {})


def _once(table: pa.Table) -> pa.Table:
    """The rows, each article version once: of rows that name one twice, the newest; it is told."""
    n_versions = len(pc.unique(table["article_id"]))
    if n_versions == table.num_rows:
        return table
    ordered = table.sort_by([("article_id", "ascending"), ("last_modified", "descending"), ("etag", "ascending")])
    ids = ordered["article_id"].combine_chunks()
    is_first = pc.invert(pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
    once = ordered.filter(pa.concat_arrays([pa.array([True]), is_first]))
    twice = pc.unique(ids.filter(pa.concat_arrays([pa.array([False]), pc.invert(is_first)])))
    logger.warning(
        "the inventory names %d article versions more than once, each is taken once: %s",
        len(twice), ", ".join(twice.to_pylist()[:5]),
    )  # fmt: skip
    return once


def _parse_part(key: str, content: bytes, md5: str | None, columns: Sequence[str]) -> pa.Table:
    if md5 and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.lower():
        raise SourceError(f"inventory part {key} does not have the md5 its manifest names; fetch it again")
    try:
        rows: Any = csv.read_csv(
            pa.BufferReader(zlib.decompress(content, wbits=31)),
            read_options=csv.ReadOptions(column_names=list(columns)),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        )
    except (zlib.error, pa.ArrowInvalid) as error:
        raise SourceError(f"inventory part {key} cannot be read: {error}; fetch it again") from error
    found = pc.extract_regex(rows["key"], _METADATA_KEY)
    rows = rows.append_column("article_id", pc.struct_field(found, "article_id")).filter(pc.is_valid(found))
    absent = pa.array([""] * len(rows), pa.string())
    dates = rows["lastmodifieddate"] if "lastmodifieddate" in columns else absent
    status = pa.array([LISTED] * len(rows), pa.string())
    return pa.table([rows["article_id"], rows["etag"], dates, absent, status], schema=INVENTORY)
