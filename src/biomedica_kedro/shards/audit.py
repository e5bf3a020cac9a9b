"""Read everything back: what is in the shards is what the index says, and nothing was lost on the way.

A shard is read as any reader would, sequentially with the standard library, and compared with its rows of the index.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.images.decode import ANY_SIZE, open_image
from biomedica_kedro.records import DataError
from biomedica_kedro.shards.fields import Row, problems_of_record
from biomedica_kedro.shards.reader import ShardError, read_sample, read_shard
from biomedica_kedro.shards.samples import IMAGE, Sample
from biomedica_kedro.shards.selection import Profile, record_schema
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import sha256_of
from biomedica_kedro.stages.place import Place

logger = logging.getLogger(__name__)

SHARD_AUDIT = pa.schema(
    {"shard": pa.string(), "samples": pa.int64(), "n_bytes": pa.int64(), "n_problems": pa.int64(),
     "problems": pa.list_(pa.string())}
)  # fmt: skip

_PROBLEMS_LISTED = 20


class AuditError(Exception):
    """The data set is not what its index says, or samples were lost."""


def audit_shard(path: Path, entry: Row, contents: Sequence[Row], profile: Profile) -> Row:
    """Read one shard back.

    Args:
        path: the tar.
        entry: its row of `SHARD_INDEX`.
        contents: its rows of `SHARD_CONTENTS`.
        profile: says which fields a record must have.
    Returns:
        A row of `SHARD_AUDIT`, with the problems found.
    """
    problems = [*_file_problems(path, entry), *_sample_problems(path, contents, profile)]
    return {
        "shard": entry["shard"], "samples": len(contents), "n_bytes": entry["n_bytes"], "n_problems": len(problems),
        "problems": problems[:_PROBLEMS_LISTED],
    }  # fmt: skip


def damage_of(row: Row, path: Place) -> str:
    """What is wrong with a shard, and what to do; names shard and samples."""
    listed = "\n".join(f"  {problem}" for problem in row["problems"])
    return (
        f"{row['shard']}: {row['n_problems']} problems\n{listed}\nRemove it (rm '{path}') and run again: it is written "
        "anew from the archive"
    )


def summarize(
    audit: pa.Table, metadata: BatchFolder, pairs: BatchFolder, prepared: BatchFolder, withdrawn: pa.Table
) -> dict[str, Any]:
    """Add the audits up and check that every image-caption pair is either published or excluded for a reason.

    Args:
        audit: all rows of `shard_audit`.
        metadata: `dataset_metadata`.
        pairs: `image_caption_pairs`.
        prepared: `prepared_samples`, whose rejects are what was excluded: figures, and panels of figures.
        withdrawn: `withdrawn_samples`.
    Returns:
        Counts, and the sum of bytes.
    Raises:
        AuditError: lists what is wrong.
    """
    samples = metadata.table(columns=["key", "parent_key"])
    published, n_panels = samples["key"], len(samples) - samples["parent_key"].null_count
    n_prepared = sum(commit.rows for commit in prepared.commits().values())
    keys, rejects = pairs.table(columns=["key"])["key"], prepared.rejects()
    n_pairs, is_pair = len(keys), pc.is_in(rejects["source"], keys.combine_chunks())
    excluded, without = rejects.filter(is_pair), rejects.filter(pc.invert(is_pair))
    problems = [f"{row['shard']}: {problem}" for row in audit.to_pylist() for problem in row["problems"]]
    if len(pc.unique(published)) != len(published):
        problems.append(f"{len(published) - len(pc.unique(published))} keys are published twice")
    if n_pairs != (n_figures := len(published) - n_panels) + len(excluded):
        problems.append(f"{n_pairs} pairs came in, but {n_figures} are published and {len(excluded)} excluded")
    if n_prepared != len(published):
        problems.append(f"{n_prepared} figures and panels were prepared, but {len(published)} are published")
    if problems:
        found = pc.sum(audit["n_problems"]).as_py()
        raise AuditError(f"the audit of the shards found {found} problems:\n" + "\n".join(problems[:_PROBLEMS_LISTED]))
    reasons = _counted(excluded["reason"])
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "nothing"
    logger.info("published %s of %s image-caption pairs; left out: %s", f"{n_figures:,}", f"{n_pairs:,}", told)
    return {
        "shards": audit.num_rows,
        "bytes": pc.sum(audit["n_bytes"]).as_py() or 0,
        "image_caption_pairs": n_pairs,
        "published": len(published),
        "excluded": reasons,
        "panels": n_panels,
        "excluded_panels": _counted(without["reason"]),
        "withdrawn": withdrawn.num_rows,
        "problems": 0,
    }


def _counted(reasons: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(reasons.to_pylist()).items()))


def _file_problems(path: Path, entry: Row) -> Iterator[str]:
    n_bytes = path.stat().st_size
    if n_bytes != entry["n_bytes"]:
        yield f"{n_bytes} bytes, the index says {entry['n_bytes']}"
    if sha256_of(path) != entry["sha256"]:
        yield "the sha256 is not the one in the index"


def _sample_problems(path: Path, contents: Sequence[Row], profile: Profile) -> Iterator[str]:
    wanted = {row["key"]: row for row in contents}
    seen: Counter[str] = Counter()
    try:
        for sample in read_shard(path):
            seen[sample.key] += 1
            row = wanted.get(sample.key)
            if row is None:
                yield f"sample {sample.key} is not in the index"
            else:
                yield from (f"{sample.key}: {problem}" for problem in _problems(sample, row, path, profile))
    except (ShardError, OSError, ValueError) as error:
        yield f"cannot be read to its end: {error}"
    yield from (f"{key} is there {count} times" for key, count in seen.items() if count > 1)
    yield from (f"sample {key} is in the index only" for key in wanted if key not in seen)


def _problems(sample: Sample, row: Row, path: Path, profile: Profile) -> Iterator[str]:
    try:
        if read_sample(path, row["offset"], row["n_bytes"]) != sample:
            yield "its place in the index holds another sample"
    except ShardError as error:
        yield str(error)
    if sample.caption != row["caption"]:
        yield "the caption is not the one in the index"
    if sample.extension != IMAGE:
        yield f"the image's member is named .{sample.extension}, expected .{IMAGE}"
    if hashlib.sha256(sample.image).hexdigest() != row["sha256"]:
        yield "the image's sha256 is not the one in the index"
    yield from image_problems(sample.image)
    yield from problems_of_record(sample.record, record_schema(profile))


def image_problems(image: bytes) -> Iterator[str]:
    """Decode an image fully; a truncated file passes a mere look at its header."""
    try:
        open_image(image, ANY_SIZE)
    except DataError as error:
        yield f"the image does not open: {error}"
