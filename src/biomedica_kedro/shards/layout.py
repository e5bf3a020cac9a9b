"""Which sample goes into which shard: a global shuffle by hash, and an update that only adds.

Within a license subset and split, samples are ordered by a hash of seed and key, then cut into shards. Once written, a
shard stays: later samples go into further shards, and samples that left the corpus are listed as withdrawn. A shard is
written again only when the content of a sample changed that is still published; it then loses its withdrawn samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import Options, RejectReason, to_table
from biomedica_kedro.shards.selection import PREPARED_SAMPLES
from biomedica_kedro.shards.writer import SUFFIX
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.identity import digest_of
from biomedica_kedro.stages.parquet import read_rows
from biomedica_kedro.stages.query import ROWS_AT_ONCE, database, rows_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset

NAME = "biomedica-{subset}-{split}-{index:06d}"
LAYOUT = b"biomedica.layout"

_S = pa.string()
SHARD_ASSIGNMENTS = pa.schema([("shard", _S), ("batch", _S), *PREPARED_SAMPLES])
WITHDRAWN_SAMPLES = pa.schema({"key": _S, "shard": _S, "reason": _S})


class ShardOptions(Options):
    """How samples are cut into shards.

    Attributes:
        seed: of the shuffle.
        samples_per_shard: at most so many samples a shard.
        bytes_per_shard: at most about so many bytes a shard; None is no limit.
        compact: lay everything out anew, instead of adding to the shards there are: restores the global shuffle and
            drops withdrawn samples for good, at the price of writing every shard again.
    """

    seed: int = 0
    samples_per_shard: int = Field(default=10_000, ge=1)
    bytes_per_shard: int | None = Field(default=None, ge=1)
    compact: bool = False

    @property
    def layout(self) -> str:
        """Digest of what must be equal for earlier shards to be kept."""
        return digest_of([self.seed, self.samples_per_shard, self.bytes_per_shard])


@dataclass(frozen=True, slots=True)
class ShardMembers:
    """What one shard is to hold: some rows of `shard_assignments`, read where they are needed.

    Attributes:
        assignments: the data set.
        start: first row.
        n_rows: number of rows.
        content: digest of the samples' keys and content; where they are read from does not count.
    """

    assignments: BatchFolder
    start: int
    n_rows: int
    content: str

    def digest(self) -> str:
        """See `content`."""
        return self.content

    def rows(self) -> pa.Table:
        """Rows of `SHARD_ASSIGNMENTS`, in order; the schema's metadata name the layout."""
        return read_rows(self.assignments.file(WHOLE), self.start, self.n_rows)


def assign_samples(
    prepared: BatchFolder, written: BatchFolder | None, options: ShardOptions
) -> tuple[pa.RecordBatchReader, pa.Table]:
    """Assign every prepared sample to a shard.

    Args:
        prepared: `prepared_samples`.
        written: `shard_contents` as it is: shards of the same layout are kept, a killed run's as well.
        options: how to cut.
    Returns:
        Rows of `SHARD_ASSIGNMENTS`, in order of shard and place; `WITHDRAWN_SAMPLES`, those in a shard but published
        no more.
    Raises:
        ValueError: when there is nothing to publish.
    """
    stack = ExitStack()
    connection = stack.enter_context(database())
    _load(connection, "samples", _SAMPLES, _with_batch(prepared))
    _load(connection, "written", _WRITTEN, _written(written, options))
    _load(connection, "reasons", _REASONS, [prepared.rejects().select(_REASONS.names)])
    if not connection.execute("SELECT count(*) FROM samples").fetchone()[0]:  # type: ignore[index]
        raise ValueError("no image-caption pair may be published: see the reasons in the data set `rejects`")
    connection.execute(_KEPT)
    connection.execute(_PLACED, {"seed": f"{options.seed}:"})
    _load(connection, "cuts", _CUTS, [_cuts(connection, options)])
    withdrawn = connection.sql(_WITHDRAWN, params={"otherwise": str(RejectReason.NOT_FOUND)}).to_arrow_table()
    schema = SHARD_ASSIGNMENTS.with_metadata({LAYOUT: options.layout})

    def rows() -> Iterator[pa.RecordBatch]:
        with stack:
            for some in rows_of(connection.sql(_ASSIGNED)):
                yield some.cast(schema)

    return pa.RecordBatchReader.from_batches(schema, rows()), withdrawn.cast(WITHDRAWN_SAMPLES)


def members_of_shards(shard_assignments: BatchFolder) -> dict[str, dict[str, ShardMembers]]:
    """The assignments shard by shard, of which one is in memory at a time; the table is in order of shard."""
    source = shard_assignments.dataset()
    layout = (source.schema.metadata or {}).get(LAYOUT, b"").decode()
    members, start = {}, 0
    for shard, rows in groupby(_keys_and_contents(source), key=itemgetter(0)):
        _, keys, contents = zip(*rows, strict=True)
        content = digest_of([layout, list(keys), list(contents)])
        members[shard] = {"members": ShardMembers(shard_assignments, start, len(keys), content)}
        start += len(keys)
    return members


def _keys_and_contents(source: pyarrow.dataset.Dataset) -> Iterator[tuple[str, str, str]]:
    for batch in source.to_batches(["shard", "key", "content"], batch_size=ROWS_AT_ONCE, fragment_readahead=1):
        yield from zip(*(batch[name].to_pylist() for name in ("shard", "key", "content")), strict=True)


def _cuts(connection: duckdb.DuckDBPyConnection, options: ShardOptions) -> pa.Table:
    """Where each new shard begins among the placed samples of its subset and split: subset, split, start, shard."""
    taken = dict(connection.execute(_INDICES).fetchall())
    rows = []
    for subset, split, count in connection.execute(_GROUPS).fetchall():
        sizes = None
        if options.bytes_per_shard is not None:
            found = connection.sql(_SIZES, params={"subset": subset, "split": split})
            sizes = np.concatenate([part.column(0).to_numpy() for part in rows_of(found)])
        following = taken.get(NAME.format(subset=subset, split=split, index=0).rpartition("-")[0], -1) + 1
        for index, start in enumerate(_starts(count, sizes, options), start=following):
            name = NAME.format(subset=subset, split=split, index=index)
            rows.append({"subset": subset, "split": split, "start": start, "shard": name})
    return to_table(rows, _CUTS)


def _starts(count: int, sizes: np.ndarray | None, options: ShardOptions) -> Iterator[int]:
    ends = np.cumsum(sizes) if sizes is not None else None
    start = 0
    while start < count:
        yield start
        stop = start + options.samples_per_shard
        if ends is not None and options.bytes_per_shard is not None:
            before = ends[start - 1] if start else 0
            stop = min(stop, int(np.searchsorted(ends, before + options.bytes_per_shard, side="right")))
        start = min(max(stop, start + 1), count)


def _load(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Make a table of the rows of tables that are never all in memory."""
    connection.register("given_rows", schema.empty_table())
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given_rows")
    for rows in tables:
        connection.register("given_rows", rows.cast(schema))
        connection.execute(f"INSERT INTO {name} SELECT * FROM given_rows")


def _with_batch(prepared: BatchFolder) -> Iterator[pa.Table]:
    """All prepared samples, each with the name of its batch."""
    for name in prepared.names():
        table = prepared.table(name, PREPARED_SAMPLES.names)
        yield table.append_column("batch", pa.array([name] * len(table), pa.string()))


def _written(contents: BatchFolder | None, options: ShardOptions) -> Iterator[pa.Table]:
    """Key and content of the samples of each shard that is kept, with their places there."""
    for shard in [] if contents is None or options.compact else contents.committed():
        table = contents.table(shard, ["key", "content"])  # type: ignore[union-attr]
        if (table.schema.metadata or {}).get(LAYOUT) == options.layout.encode():
            columns = {"shard": [shard] * len(table), "place": range(len(table))}
            more = pa.table({name: table[name] for name in ("key", "content")} | columns)
            yield more.select(_WRITTEN.names)


_REASONS = pa.schema({"source": _S, "reason": _S})
_SAMPLES = pa.schema([*PREPARED_SAMPLES, ("batch", _S)])
_WRITTEN = pa.schema({"shard": _S, "place": pa.int64(), "key": _S, "content": _S})
_CUTS = pa.schema({"subset": _S, "split": _S, "start": pa.int64(), "shard": _S})
_PUBLISHED = ", ".join(name for name in PREPARED_SAMPLES.names if name not in ("key", "content"))

# Members of the shards there are. A shard of which a published sample changed is written again, with what is published;
# else all stay in their places, those that are published no more without a batch.
_KEPT = f"""
CREATE TABLE kept AS
WITH found AS (
    SELECT w.shard AS shard, w.place AS place, w.key AS key, w.content AS content, s.content AS now,
        s.* EXCLUDE (key, content),
        coalesce(split_part(w.shard, '-', 2) = s.subset AND split_part(w.shard, '-', 3) = s.split, false) AS stays
    FROM written w LEFT JOIN samples s ON w.key = s.key
), changed AS (
    SELECT DISTINCT shard FROM found WHERE stays AND now <> content
)
SELECT f.shard, place, key, CASE WHEN c.shard IS NULL THEN content ELSE now END AS content,
    {", ".join(f"CASE WHEN stays THEN {name} END AS {name}" for name in (*_PUBLISHED.split(", "), "batch"))}
FROM found f LEFT JOIN changed c ON f.shard = c.shard WHERE stays OR c.shard IS NULL
"""
# The order is that of a hash of seed and key: the same for any order of the samples.
_PLACED = """
CREATE TABLE placed AS
SELECT *, row_number() OVER (PARTITION BY subset, split ORDER BY substr(sha256($seed || key), 1, 32), key) - 1 AS place
FROM samples WHERE key NOT IN (SELECT key FROM kept WHERE batch IS NOT NULL)
"""
_INDICES = """
SELECT regexp_replace(shard, '-[0-9]+$', '') AS stem, max(regexp_extract(shard, '[0-9]+$')::BIGINT)
FROM written GROUP BY ALL
"""
_GROUPS = "SELECT subset, split, count(*) FROM placed GROUP BY ALL ORDER BY ALL"
_SIZES = """
SELECT image_bytes + caption_bytes + record_bytes + article_bytes FROM placed
WHERE subset = $subset AND split = $split ORDER BY place
"""
_WITHDRAWN = f"""
WITH told AS (SELECT source, last(reason) AS reason FROM reasons GROUP BY source)
SELECT key, shard || '{SUFFIX}' AS shard, coalesce(reason, $otherwise) AS reason
FROM kept LEFT JOIN told ON key = source WHERE batch IS NULL ORDER BY shard, place
"""
_ASSIGNED = f"""
WITH assigned AS (
    SELECT shard, batch, key, content, {_PUBLISHED}, place FROM kept
    UNION ALL BY NAME
    SELECT c.shard AS shard, p.* FROM placed p
    ASOF JOIN cuts c ON p.subset = c.subset AND p.split = c.split AND p.place >= c.start
)
SELECT {", ".join(SHARD_ASSIGNMENTS.names)} FROM assigned ORDER BY shard, place
"""


def withdrawn_by_shard(
    withdrawn_samples: BatchFolder, shard_contents: BatchFolder
) -> dict[str, dict[str, dict[str, str]]]:
    """What was withdrawn from each shard, and why, by key; nothing from most."""
    withdrawn: dict[str, dict[str, str]] = {shard: {} for shard in shard_contents.names()}
    for row in withdrawn_samples.table().to_pylist():
        withdrawn[row["shard"].removesuffix(SUFFIX)][row["key"]] = row["reason"]
    return {shard: {"withdrawn": reasons} for shard, reasons in withdrawn.items()}
