"""Which sample goes into which shard: a global shuffle by hash, and an update that only adds.

Within a license subset and split, samples are ordered by a hash of seed and key, then cut into shards. Once written, a
shard stays: later samples go into further shards, and samples that left the corpus are listed as withdrawn. A shard is
written again only when the content of a sample changed that is still published; it then loses its withdrawn samples.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from biomedica_kedro.records import Options, RejectReason, to_table
from biomedica_kedro.shards.selection import PREPARED_SAMPLES
from biomedica_kedro.shards.writer import SUFFIX
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.folder import read_rows
from biomedica_kedro.stages.identity import digest_of

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
    samples: pa.Table, excluded: pa.Table, written: Mapping[str, pa.Table], options: ShardOptions
) -> tuple[pa.Table, pa.Table]:
    """Assign every prepared sample to a shard.

    Args:
        samples: `PREPARED_SAMPLES` and the batch of each.
        excluded: rejects of their selection.
        written: key and content of the samples in each shard there is; see `written_shards`.
        options: how to cut.
    Returns:
        `SHARD_ASSIGNMENTS`, in order of shard and place; `WITHDRAWN_SAMPLES`, those in a shard but published no more.
    Raises:
        ValueError: when there is nothing to publish.
    """
    if len(samples) == 0:
        raise ValueError("no image-caption pair may be published: see the reasons in the data set `rejects`")
    row_of = {key: row for row, key in enumerate(samples["key"].to_pylist())}
    kept = {shard: _keep(shard, rows, samples, row_of) for shard, rows in written.items()}
    gone = [(key, shard) for shard, members in kept.items() for key in _withdrawn(members)]
    taken = pa.array([key for members in kept.values() for key in members["key"].to_pylist()], pa.string())
    gone_keys = pa.array([key for key, _ in gone], pa.string())
    fresh = samples.filter(pc.or_(pc.invert(pc.is_in(samples["key"], taken)), pc.is_in(samples["key"], gone_keys)))
    added = _cut(fresh, options, first_indices(kept))
    shards = sorted({**kept, **added}.items())
    reasons = dict(zip(excluded["source"].to_pylist(), excluded["reason"].to_pylist(), strict=True))
    withdrawn = [
        {"key": key, "shard": shard + SUFFIX, "reason": reasons.get(key, RejectReason.NOT_FOUND)} for key, shard in gone
    ]
    assignments = pa.concat_tables([SHARD_ASSIGNMENTS.empty_table(), *(members for _, members in shards)])
    return assignments.replace_schema_metadata({LAYOUT: options.layout}), to_table(withdrawn, WITHDRAWN_SAMPLES)


def members_of_shards(shard_assignments: BatchFolder) -> dict[str, dict[str, ShardMembers]]:
    """The assignments shard by shard; the table is in order of shard."""
    table = shard_assignments.table(WHOLE, ["shard", "key", "content"])
    layout = (table.schema.metadata or {}).get(LAYOUT, b"").decode()
    members, start = {}, 0
    for entry in pc.value_counts(table["shard"]).to_pylist():
        rows = table.slice(start, entry["counts"])
        content = digest_of([layout, rows["key"].to_pylist(), rows["content"].to_pylist()])
        members[entry["values"]] = {"members": ShardMembers(shard_assignments, start, len(rows), content)}
        start += len(rows)
    return members


def shuffled(keys: Sequence[str], seed: int) -> np.ndarray:
    """Row numbers in the order of a hash of seed and key: the same for any order of the keys."""
    prefix = f"{seed}:".encode()
    hashes = [hashlib.sha256(prefix + key.encode()).digest()[:16] for key in keys]
    return np.array(sorted(range(len(keys)), key=hashes.__getitem__), dtype=np.int64)


def first_indices(shards: Iterable[str]) -> dict[str, int]:
    """For each `biomedica-{subset}-{split}` the number that follows those in use."""
    following: defaultdict[str, int] = defaultdict(int)
    for shard in shards:
        stem, _, index = shard.rpartition("-")
        following[stem] = max(following[stem], int(index) + 1)
    return dict(following)


def _cut(samples: pa.Table, options: ShardOptions, following: dict[str, int]) -> dict[str, pa.Table]:
    groups = samples.group_by(["subset", "split"]).aggregate([]).to_pylist()
    shards: dict[str, pa.Table] = {}
    for group in groups:
        mask = pc.and_(pc.equal(samples["subset"], group["subset"]), pc.equal(samples["split"], group["split"]))
        members = samples.filter(mask)
        members = members.take(shuffled(members["key"].to_pylist(), options.seed))
        first = following.get(NAME.format(**group, index=0).rpartition("-")[0], 0)
        for index, (start, stop) in enumerate(_cuts(members, options), start=first):
            name = NAME.format(**group, index=index)
            shards[name] = _named(members.slice(start, stop - start), name)
    return shards


def _cuts(members: pa.Table, options: ShardOptions) -> Iterator[tuple[int, int]]:
    sizes = sum(members[name].to_numpy() for name in ("image_bytes", "caption_bytes", "record_bytes", "article_bytes"))
    ends = np.cumsum(sizes)
    start = 0
    while start < len(members):
        stop = start + options.samples_per_shard
        if options.bytes_per_shard is not None:
            before = ends[start - 1] if start else 0
            stop = min(stop, int(np.searchsorted(ends, before + options.bytes_per_shard, side="right")))
        stop = min(max(stop, start + 1), len(members))
        yield start, stop
        start = stop


def _keep(shard: str, written: pa.Table, samples: pa.Table, row_of: dict[str, int]) -> pa.Table:
    """Members of a shard that was written before; without batch those that are published no more."""
    keys = written["key"].to_pylist()
    now = samples.take(pa.array([row_of.get(key) for key in keys], pa.int64()))
    subset, split = shard.split("-")[1:3]
    stays = pc.and_(pc.equal(now["subset"], subset), pc.equal(now["split"], split)).fill_null(False)
    if pc.any(pc.and_(stays, pc.not_equal(now["content"], written["content"]))).as_py():
        return _named(now.filter(stays), shard)
    columns = {name: pc.if_else(stays, now[name], pa.scalar(None, now[name].type)) for name in now.column_names}
    columns |= {"key": written["key"], "content": written["content"]}
    return _named(pa.table(columns), shard)


def _withdrawn(members: pa.Table) -> list[str]:
    keys: list[str] = members.filter(pc.is_null(members["batch"]))["key"].to_pylist()
    return keys


def _named(members: pa.Table, shard: str) -> pa.Table:
    named = members.append_column("shard", pa.array([shard] * len(members), pa.string()))
    return named.select(SHARD_ASSIGNMENTS.names).cast(SHARD_ASSIGNMENTS)


def with_batch(prepared: BatchFolder) -> pa.Table:
    """All prepared samples, each with the name of its batch."""
    tables = [
        table.append_column("batch", pa.array([name] * len(table), pa.string()))
        for name in prepared.names()
        for table in [prepared.table(name)]
    ]
    return pa.concat_tables(tables).combine_chunks()


def written_shards(contents: BatchFolder, layout: str) -> dict[str, pa.Table]:
    """Key and content of each committed shard of the same layout; a killed run's shards count as well."""
    written = {}
    for shard in contents.committed():
        table = contents.table(shard, ["key", "content"])
        if (table.schema.metadata or {}).get(LAYOUT) == layout.encode():
            written[shard] = table
    return written


def withdrawn_by_shard(withdrawn_samples: BatchFolder, shard_contents: BatchFolder) -> dict[str, dict[str, list[str]]]:
    """Keys withdrawn from each shard; an empty list for most."""
    keys: dict[str, list[str]] = {shard: [] for shard in shard_contents.names()}
    for row in withdrawn_samples.table().to_pylist():
        keys[row["shard"].removesuffix(SUFFIX)].append(row["key"])
    return {shard: {"withdrawn": withdrawn} for shard, withdrawn in keys.items()}
