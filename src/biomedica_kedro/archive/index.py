"""The LanceDB tables of the archive: filled batch by batch, continued where a kill left them, never written twice.

    samples    a row an image-caption pair; indexes of words (BM25), of vectors, and of what is filtered by
    batches    which batches lie in `samples`, by digest; an empty digest marks one that is being written

A batch is marked, its earlier rows are removed, its rows are added, its digest is written. Batches are written in
groups: every write is a version of the table that lists all its files. Source: LanceDB's documentation of incremental
indexing (`optimize` adds what is new to the indexes there are).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.archive.rows import TEXTS, VECTOR, ArchiveTables, facet_columns, row_schema
from biomedica_kedro.records import HOW, Options
from biomedica_kedro.stages.files import remove_unnamed_leftovers
from biomedica_kedro.stages.place import Place

logger = logging.getLogger(__name__)

SAMPLES, BATCHES = "samples", "batches"
_WRITING = ""
_CANDIDATES_OF_A_LINK = 150  # LanceDB's 300 take 1.7 times as long to build, for 0.994 instead of 0.992 of recall
_OLD = timedelta(hours=1)  # versions of a table that somebody may still be reading
_BATCHES = pa.schema({"batch": pa.string(), "digest": pa.string()})


class VectorIndex(StrEnum):
    """How near vectors are found: graphs of vectors in a byte a dimension, or products of codes, which are smaller."""

    HNSW = "hnsw"
    PQ = "pq"


class IndexOptions(Options):
    """How the archive is indexed.

    Attributes:
        vector_index: see `VectorIndex`.
        exact_below: with fewer pairs every vector is compared, which is exact and needs no index.
        rows_per_write: pairs held in memory at once.
    """

    vector_index: VectorIndex = VectorIndex.HNSW
    exact_below: int = Field(default=20_000, ge=0)
    rows_per_write: Annotated[int, HOW] = Field(default=50_000, ge=1)


@dataclass(slots=True)
class Filled:
    """What filling an index came to.

    Attributes:
        written: batches written now.
        kept: batches that were there already.
        removed: batches that are no more.
    """

    written: int
    kept: int
    removed: int


def connect(place: Place) -> Any:
    """The LanceDB database in a folder or an object store; credentials come from the environment."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of every table that is made
    import lancedb

    return lancedb.connect(str(place), storage_options=None if isinstance(place, Path) else {"allow_http": "true"})


def fill(place: Place, tables: ArchiveTables, options: IndexOptions) -> Filled:
    """Bring the index to what the tables hold; only batches that changed are read.

    Args:
        place: folder of the database.
        tables: what rows are made of.
        options: how much is written at once, and which indexes are made.
    """
    database = connect(place)
    samples = _table(database, SAMPLES, row_schema(tables.dimensions))
    batches = _table(database, BATCHES, _BATCHES, keep=samples.count_rows() > 0)
    wanted, there = tables.digests(), _there(batches)
    gone = sorted(there.keys() - wanted.keys())
    todo = [batch for batch, digest in wanted.items() if there.get(batch) != digest]
    if gone:
        _remove(samples, gone)
        _remove(batches, gone)
    for group, rows in _groups(tables, todo, options.rows_per_write):
        _write(samples, batches, {batch: wanted[batch] for batch in group}, rows, set(there))
    _index(samples, options)
    _tidy(batches)
    if isinstance(place, Path):
        remove_unnamed_leftovers(place)
    return Filled(len(todo), len(wanted) - len(todo), len(gone))


def facet_rows(place: Place) -> Iterator[pa.RecordBatch]:
    """The facet columns of all rows, some at a time."""
    found = connect(place).open_table(SAMPLES).search().select(list(facet_columns()))
    yield from found.limit(None).to_batches()


def _table(database: Any, name: str, schema: pa.Schema, *, keep: bool = True) -> Any:
    """The table, empty where there was none, or one with other columns or vectors of another length."""
    if name in database.list_tables().tables:
        table = database.open_table(name)
        if keep and table.schema.equals(schema):
            return table
    return database.create_table(name, schema=schema, mode="overwrite")


def _there(batches: Any) -> dict[str, str]:
    rows = batches.to_arrow().to_pylist()
    return {row["batch"]: row["digest"] for row in rows}


def _groups(
    tables: ArchiveTables, batches: Sequence[str], rows_per_write: int
) -> Iterator[tuple[list[str], list[pa.Table]]]:
    group: list[str] = []
    rows: list[pa.Table] = []
    for batch in batches:
        group.append(batch)
        rows.append(tables.rows(batch))
        if sum(table.num_rows for table in rows) >= rows_per_write:
            yield group, rows
            group, rows = [], []
    if group:
        yield group, rows


def _write(samples: Any, batches: Any, digests: Mapping[str, str], rows: Sequence[pa.Table], there: set[str]) -> None:
    _mark(batches, dict.fromkeys(digests, _WRITING))
    again = sorted(digests.keys() & there)
    if again:
        _remove(samples, again)
    found = pa.concat_tables(rows)
    if found.num_rows:
        samples.add(found, on_bad_vectors="null")
    _mark(batches, digests)
    logger.info("index_archive: %d batches with %d pairs written", len(digests), found.num_rows)


def _mark(batches: Any, digests: Mapping[str, str]) -> None:
    """Say of some batches what they hold, in one version of the table: no kill leaves it half said."""
    rows = pa.table({"batch": list(digests), "digest": list(digests.values())}, schema=_BATCHES)
    batches.merge_insert("batch").when_matched_update_all().when_not_matched_insert_all().execute(rows)


def _remove(table: Any, batches: Sequence[str]) -> None:
    table.delete(f"batch IN ({', '.join(quoted(batch) for batch in batches)})")


def _index(samples: Any, options: IndexOptions) -> None:
    """Make the indexes that are missing, take new rows into those that are there, and merge small files."""
    from lancedb.index import FTS, Bitmap, BTree, LabelList

    there = {column for index in samples.list_indices() for column in index.columns}
    wanted: dict[str, Any] = {column: FTS() for column in TEXTS}
    wanted |= {column: BTree() for column in ("key", "batch", "publication_date", "journal")}
    wanted |= {column: Bitmap() for column in ("license_group", "panel_type", "kind", "split")}
    wanted |= {column: LabelList() for column in ("primary_labels", "secondary_labels")}
    if samples.count_rows(f"{VECTOR} IS NOT NULL") >= max(options.exact_below, 1):
        wanted[VECTOR] = _vector_index(options.vector_index)
    _tidy(samples)
    for column, config in wanted.items():
        if column not in there:
            samples.create_index(column, config=config)


def _tidy(table: Any) -> None:
    """Merge small files; remove old versions, and what a killed write left: nobody else writes to the table."""
    table.optimize(cleanup_older_than=_OLD, delete_unverified=True)


def _vector_index(kind: VectorIndex) -> Any:
    from lancedb.index import IvfHnswSq, IvfPq

    if kind is VectorIndex.PQ:
        return IvfPq(distance_type="cosine")
    return IvfHnswSq(distance_type="cosine", ef_construction=_CANDIDATES_OF_A_LINK)


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
