"""What is streamed: one or more sets of shards, each with its filter, its caption and its share of every batch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Self

from pydantic import Field, FieldSerializationInfo, field_serializer, model_validator

from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.records import HOW, Options, Reject
from biomedica_kedro.shards.disk_cache import DiskCache
from biomedica_kedro.shards.filters import message_on, needed_fields, unknown_names
from biomedica_kedro.shards.members import KeySplit, ShardError, ShardFormat
from biomedica_kedro.shards.places import Access, list_shards
from biomedica_kedro.shards.reader import Entry, Reading, read_entries
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.secrets import without_secrets

logger = logging.getLogger(__name__)

_LOOKED_AT = 32
_SHARDS_TRIED = 4
_NAMES_TOLD = 12


class SourceError(ValueError):
    """A source cannot be streamed; says what was found there."""


# Context of `model_dump` for another process of this training, which has to reach the place, too.
WITH_SECRETS = {"secrets": True}


class Source(Options):
    """Shards of one origin; what opens its place stays out of what is told of it, see `secrets`.

    Attributes:
        url: a folder, a shard, a pattern, or a list of these; see `places.list_shards`.
        name: for reports; the URL when empty.
        caption: extension of the member that is the caption, or `json:FIELD`; see `members.ShardFormat`.
        split: where the key ends in a member's name.
        where: SQL condition over the fields of the records, `key`, `caption` and what `filters.DERIVED` lists.
        balance: 1 takes samples as they come, 0 all values of `balance_by` alike; between them the frequent ones
            weigh by this power. What is too frequent is left out, by counts that run along.
        balance_by: SQL expression, one value a sample.
        most_left_out: largest share of a frequent value that balancing leaves out: it bounds what is read in vain.
        weight: share of every batch, relative to the other sources.
        missing: largest share of shards that may be missing or damaged; they are named and left out.
        storage: how its place is reached; see `places.Access`.
    """

    url: str | list[str]
    name: Annotated[str, HOW] = ""
    caption: str = ShardFormat.model_fields["caption"].default
    split: KeySplit = KeySplit.FIRST
    where: str | None = None
    balance: float = Field(default=1.0, ge=0, le=1)
    balance_by: str = "primary_label"
    most_left_out: float = Field(default=0.9, ge=0, lt=1)
    weight: float = Field(default=1.0, gt=0)
    missing: float = Field(default=0.0, ge=0, le=1)
    storage: Annotated[dict[str, Any], HOW] = Field(default={})

    @model_validator(mode="after")
    def _check_caption(self) -> Self:
        self.form()
        return self

    @field_serializer("url", "storage", when_used="json")
    def _tell(self, value: Any, details: FieldSerializationInfo) -> Any:
        return value if (details.context or {}).get("secrets") else without_secrets(value)

    @property
    def label(self) -> str:
        """What it is called in reports."""
        return self.name or str(without_secrets(self.url if isinstance(self.url, str) else self.url[0]))

    def form(self) -> ShardFormat:
        """How its samples lie."""
        return ShardFormat(caption=self.caption, split=self.split)


class StreamOptions(Options):
    """What is streamed, and in which order.

    Attributes:
        sources: where from; empty: nothing is streamed.
        validation: where validation samples come from; `where` should tell them from the training samples.
        lanes: how many shards are read at a time, by all processes and workers together; it carries the order, so
            that any number of processes times workers that divides it gives the same batches.
        window: samples of a shard that are shuffled among each other, and that a filter looks at at once. Each lane
            holds two windows in memory.
        tries: attempts at a shard that fails, without a byte between them.
        stall: seconds without a byte after which an attempt is given up.
        cache: folder on a local disk in which whole shards are kept for later epochs and runs; None: nothing is kept.
        cache_gigabytes: most that is kept there, the least recently used given up first.
    """

    sources: list[Source] = Field(default=[])
    validation: Source | None = None
    lanes: int = Field(default=64, ge=1)
    window: int = Field(default=64, ge=1)
    tries: Annotated[int, HOW] = Field(default=8, ge=1)
    stall: Annotated[float, HOW] = Field(default=30.0, gt=0)
    cache: Annotated[str | None, HOW] = None
    cache_gigabytes: Annotated[float, HOW] = Field(default=100.0, gt=0)

    def access(self, source: Source) -> Access:
        """How a source is reached."""
        kept = None if self.cache is None else DiskCache(self.cache, int(self.cache_gigabytes * 1e9))
        return Access(source.storage, RetryPolicy(tries=self.tries, timeout=self.stall), kept)


@dataclass(frozen=True, slots=True)
class ShardSet:
    """A source whose shards are known; picklable.

    Attributes:
        source: what was asked for.
        shards: their URLs, in order.
        reading: what is read of a sample.
        access: how they are reached.
    """

    source: Source
    shards: tuple[str, ...]
    reading: Reading
    access: Access


def open_source(source: Source, options: StreamOptions, columns: Iterable[str] | None = None) -> ShardSet:
    """List a source's shards and look at the first samples.

    Args:
        source: what to stream.
        options: how its place is reached.
        columns: fields of the record that are wanted; None gives all.
    Raises:
        FileNotFoundError: when there are no shards.
        SourceError: when none of the first samples can be used; says what was found.
        ValueError: when `where` or `balance_by` cannot be read.
    """
    access = options.access(source)
    shards = tuple(list_shards(source.url, access))
    fields = needed_fields(source.where, source.balance_by if source.balance < 1 else None)
    wanted = None if columns is None else tuple(sorted({*columns, *fields}))
    reading = Reading(source.form(), wanted)
    entries = first_entries(shards, reading, access, _LOOKED_AT)
    if all(isinstance(entry.value, Reject) for entry in entries):
        raise SourceError(_nothing_usable(source, shards, entries))
    usable = [entry.value for entry in entries if isinstance(entry.value, Sample)]
    unknown = unknown_names(usable, source.where)
    if unknown:
        logger.warning("of the first samples of %s, %s", source.label, message_on(unknown, usable))
    has_records = any("json" in entry.names for entry in entries)
    return ShardSet(source, shards, Reading(reading.form, wanted, has_records), access)


def first_entries(shards: Iterable[str], reading: Reading, access: Access, count: int) -> list[Entry]:
    """The first samples and rejects of the first shard that can be read.

    Raises:
        FileNotFoundError, ShardError: when the first few shards cannot be read; of the first.
    """
    failed: list[Exception] = []
    for shard in islice(shards, _SHARDS_TRIED):
        try:
            return list(islice(read_entries(shard, reading, access), count))
        except (OSError, ShardError) as error:
            failed.append(error)
    raise failed[0]


def _nothing_usable(source: Source, shards: tuple[str, ...], entries: list[Entry]) -> str:
    if not entries:
        return f"{shards[0]} holds no samples: it is an empty tar, or its files are hidden or have no extension"
    names = [f"{entry.place.key}.{name}" for entry in entries for name in entry.names][:_NAMES_TOLD]
    return (
        f"none of the first {len(entries)} samples of {shards[0]} can be used: {'; '.join(_reasons(entries))}. "
        f"Its first members are {', '.join(names)}. Captions are looked for in {source.caption!r} and keys end at the "
        f"{source.split} dot: set `caption` and `split` to fit"
    )


def _reasons(entries: list[Entry]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry.value, Reject):
            reason = f"{entry.value.reason}: {entry.value.detail}"
            counts[reason] = counts.get(reason, 0) + 1
    for reason, count in sorted(counts.items(), key=lambda item: -item[1])[:3]:
        yield f"{count} {reason}"
