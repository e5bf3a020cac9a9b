"""Read samples out of shards: one by its place, or all of a shard in order.

Nothing is ever unpickled or executed: a member is an image's bytes, UTF-8 text, or JSON.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from biomedica_kedro.records import DataError, Reject, RejectReason
from biomedica_kedro.shards.body import open_shard
from biomedica_kedro.shards.members import (
    DEFAULT_FORMAT,
    Group,
    Part,
    ShardError,
    ShardFormat,
    groups_of,
    has_caption,
    read_members,
    sample_of,
)
from biomedica_kedro.shards.places import DEFAULT_ACCESS, Access, file_system, local_path
from biomedica_kedro.shards.samples import Place, Sample

__all__ = ["Entry", "Reading", "ShardError", "parse_sample", "read_entries", "read_sample", "read_shard"]

STAGE = "read_shards"


@dataclass(frozen=True, slots=True)
class Reading:
    """What is wanted of the samples of a shard.

    Attributes:
        form: how they lie.
        columns: fields of the record that are wanted; None gives all, an empty tuple none.
        has_records: samples have a `.json`: where members lie apart, those without it wait for it.
    """

    form: ShardFormat = DEFAULT_FORMAT
    columns: tuple[str, ...] | None = None
    has_records: bool = False

    def is_whole(self, group: Group) -> bool:
        """Whether a group has all members that its sample needs."""
        needed = {Part.IMAGE, Part.CAPTION if self.form.caption_field is None else Part.RECORD}
        if self.has_records and self.columns != ():
            needed.add(Part.RECORD)
        return needed <= group.parts.keys()


DEFAULT_READING = Reading()


class Entry(NamedTuple):
    """A sample, or why it cannot be used.

    Attributes:
        value: one of the two.
        place: of its first member, up to the end of its last one.
        names: extensions of all its members.
        is_place: reading from `place.offset` on gives this and all later entries: false in compressed shards, and
            once members lie apart.
    """

    value: Sample | Reject
    place: Place
    names: list[str]
    is_place: bool


def read_entries(
    url: str | Path, reading: Reading = DEFAULT_READING, access: Access = DEFAULT_ACCESS, *, start: int = 0
) -> Iterator[Entry]:
    """Every sample of a shard of any origin, in one sequential pass; what cannot be used is a reject, not an error.

    Args:
        url: a path or any URL; see `body.open_shard`.
        reading: what is wanted.
        access: how its place is reached.
        start: an `offset` of an earlier entry, to begin there.
    Raises:
        FileNotFoundError: when it is not there.
        ShardError: when it is not a whole tar; names it.
    """
    name = str(url).rpartition("/")[2]
    with open_shard(url, access, start=start) as (file, has_places):
        groups = groups_of(read_members(file, start=start), reading.form, needed=reading.is_whole)
        try:
            for group in groups:
                place = Place(group.key, group.offset, group.end - group.offset)
                is_place = has_places and group.can_restart
                yield Entry(_value(group, reading, name), place, group.names, is_place)
        except ShardError as error:
            raise ShardError(f"{url}: {error}") from error


def read_shard(path: str | Path, form: ShardFormat = DEFAULT_FORMAT) -> Iterator[Sample]:
    """Every sample of a shard, in order, in one sequential pass; captions as they are, empty ones too.

    Raises:
        ShardError: when the shard is not whole, or a sample cannot be used.
    """
    for entry in read_entries(path, Reading(form.model_copy(update={"no_caption": ()}))):
        if isinstance(entry.value, Reject):
            raise ShardError(f"{entry.value.source}: {entry.value.reason}: {entry.value.detail}")
        yield entry.value


def read_sample(path: str | Path, offset: int, n_bytes: int) -> Sample:
    """Read one sample without touching the rest of its shard.

    Args:
        path: a shard's path, or any URL.
        offset: where the sample's run of members begins.
        n_bytes: length of the run.
    Raises:
        ShardError: when the bytes there are not one whole sample.
    """
    # The built-in file costs a tenth of fsspec's, once a sample.
    local = local_path(path)
    if local is not None:
        with local.open("rb") as file:
            file.seek(offset)
            run = file.read(n_bytes)
    else:
        system, inside = file_system(path)
        run = system.cat_file(inside, offset, offset + n_bytes)
    try:
        return parse_sample(run, n_bytes=n_bytes)
    except (ShardError, DataError) as error:
        raise ShardError(f"{path} at byte {offset}: {error}") from error


def parse_sample(run: bytes, reading: Reading = DEFAULT_READING, *, n_bytes: int | None = None) -> Sample:
    """A sample from the bytes of its run of members.

    Args:
        run: the bytes.
        reading: what is wanted.
        n_bytes: how many bytes they should be.
    Raises:
        ShardError: when the bytes are not one whole sample.
        DataError: when a sample lacks its image or its caption, or its record is not JSON.
    """
    if n_bytes is not None and len(run) != n_bytes:
        raise ShardError(f"expected {n_bytes} bytes, found {len(run)}: the shard is shorter than its index says")
    groups = list(groups_of(read_members(io.BytesIO(run), is_run=True), reading.form))
    if len(groups) != 1:
        found = [f"{group.key}.{name}" for group in groups for name in group.names]
        raise ShardError(f"expected the members of one sample, found {', '.join(found) or 'none'}")
    return sample_of(groups[0], reading.form, reading.columns)


def _value(group: Group, reading: Reading, shard: str) -> Sample | Reject:
    try:
        sample = sample_of(group, reading.form, reading.columns)
        if not has_caption(sample.caption, reading.form):
            raise DataError(RejectReason.NO_CAPTION, f"the caption is {sample.caption!r}")
    except DataError as error:
        return Reject(f"{shard}:{group.key}", STAGE, error.reason, error.detail)
    return sample
