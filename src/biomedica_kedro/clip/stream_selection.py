"""Which samples a training is fed from its sources: the recipe as conditions on what streams by, told before it begins.

Nothing is listed and nothing kept: the first samples of a few shards of each source say what will be read, what the
conditions leave out, and how long captions are. Shards may lie in an order of their own (the published ones lie by
cluster), so the counts are of those samples and no estimate of the whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from biomedica_kedro.clip.selection import COUNTS, UNLABELED, Recipe, SelectionError, streamed_source
from biomedica_kedro.records import Reject, Split
from biomedica_kedro.shards.filters import chosen, needed_fields
from biomedica_kedro.shards.lanes import share_taken
from biomedica_kedro.shards.reader import Entry, Reading
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.secrets import without_secrets
from biomedica_kedro.shards.sources import ShardSet, Source, StreamOptions, first_entries, open_source

_SHARDS_LOOKED_INTO = 8
_SAMPLES_A_SHARD = 32

_S, _I64 = pa.string(), pa.int64()
SOURCES = pa.schema(
    [
        ("split", _S), ("source", _S), ("urls", pa.list_(_S)), ("caption", _S), ("where", _S),
        ("balance", pa.float64()), ("balance_by", _S), ("share_of_batch", pa.float64()), ("shards", _I64),
        ("shards_sha256", _S), ("looked_at", _I64), ("taken", _I64), ("left_out", _I64), ("rejected", _I64),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamSelection:
    """What is streamed.

    Attributes:
        sources: `SOURCES`, one row a source; those of the training come first, in their order.
        counts: `selection.COUNTS` of the samples looked at, by label.
        captions: of the training samples looked at that are taken.
    """

    sources: pa.Table
    counts: pa.Table
    captions: list[str]


def select_streams(stream: StreamOptions, recipe: Recipe) -> StreamSelection:
    """Apply a recipe to the sources of a training and look at their first samples.

    Args:
        stream: the sources; those of the training and the one of its validation.
        recipe: what is to be trained on; its balance and the rest of it hold for the training, its conditions for both.
    Raises:
        FileNotFoundError: when a source has no shards.
        SelectionError: when the recipe needs a metadata table.
        ValueError: when none of the first samples of a source can be used, or a condition does not fit.
    """
    asked = with_recipe(stream, recipe)
    training = [(Split.TRAIN, source) for source in asked.sources]
    held_out = [(Split.VALIDATION, source) for source in (asked.validation,) if source]
    total = sum(source.weight for _, source in training)
    rows, counts, captions = [], list[dict[str, object]](), list[str]()
    for split, source in [*training, *held_out]:
        opened = open_source(source, stream, needed_fields("primary_label"))
        entries = list(_first_of_some(opened))
        samples = [entry.value for entry in entries if isinstance(entry.value, Sample)]
        taken = chosen(samples, source.where, "primary_label")
        share = source.weight / total if split is Split.TRAIN else 0.0
        rows.append(_row(split, opened, share, entries, len(taken)))
        counts += _counts(split, source, samples, [label for _, label in taken])
        captions += [samples[place].caption for place, _ in taken if split is Split.TRAIN]
    sources = pa.Table.from_pylist(rows, schema=SOURCES)
    return StreamSelection(sources, pa.Table.from_pylist(counts, schema=COUNTS), captions)


def with_recipe(stream: StreamOptions, recipe: Recipe) -> StreamOptions:
    """The sources as a recipe has them: what is streamed in the end."""
    kept = None
    if stream.validation is not None:
        kept = streamed_source(stream.validation, recipe.model_copy(update={"temperature": 1.0}))
    training = [streamed_source(source, recipe) for source in stream.sources]
    return stream.model_copy(update={"sources": training, "validation": kept})


def as_selected(stream: StreamOptions, sources: pa.Table) -> StreamOptions:
    """The sources with the conditions and the balance that a selection wrote down.

    Args:
        stream: what was selected from.
        sources: `SOURCES`.
    Raises:
        SelectionError: when the table is of other sources.
    """
    rows = sources.to_pylist()
    given = [*stream.sources, *([] if stream.validation is None else [stream.validation])]
    if [row["urls"] for row in rows] != [_urls(source) for source in given]:
        raise SelectionError("training_sources is of other sources: run select_training_samples again")
    found = [
        source.model_copy(update={name: row[name] for name in ("where", "balance")})
        for source, row in zip(given, rows, strict=True)
    ]
    n_training = len(stream.sources)
    return stream.model_copy(update={"sources": found[:n_training], "validation": next(iter(found[n_training:]), None)})


def _first_of_some(opened: ShardSet) -> Iterator[Entry]:
    """The first samples of shards that lie spread over a source."""
    shards = opened.shards
    step = max(1, len(shards) // _SHARDS_LOOKED_INTO)
    for start in range(0, len(shards), step)[:_SHARDS_LOOKED_INTO]:
        yield from first_entries(shards[start:], _whole(opened.reading), opened.access, _SAMPLES_A_SHARD)


def _whole(reading: Reading) -> Reading:
    """With all fields of the records: what has none of a field must not pass for one that nobody asked for."""
    return Reading(reading.form, None, reading.has_records)


def _row(split: Split, opened: ShardSet, share: float, entries: Sequence[Entry], n_taken: int) -> dict[str, object]:
    source = opened.source
    n_rejected = sum(isinstance(entry.value, Reject) for entry in entries)
    return {
        "split": split.value, "source": source.label, "urls": _urls(source), "caption": source.caption,
        "where": source.where, "balance": source.balance, "balance_by": source.balance_by, "share_of_batch": share,
        "shards": len(opened.shards), "shards_sha256": _digest(opened.shards), "looked_at": len(entries),
        "taken": n_taken, "left_out": len(entries) - n_rejected - n_taken, "rejected": n_rejected,
    }  # fmt: skip


def _digest(shards: Sequence[str]) -> str:
    """Of the names: a signature that a URL ends in changes from day to day."""
    return hashlib.sha256("\n".join(shard.partition("?")[0] for shard in shards).encode()).hexdigest()


def _counts(split: Split, source: Source, samples: Sequence[Sample], taken: Sequence[str]) -> list[dict[str, object]]:
    """Samples looked at and taken by label, and how many of them the balance would leave."""
    available = Counter(label or UNLABELED for _, label in chosen(samples, None, "primary_label"))
    selected = Counter(label or UNLABELED for label in taken)
    return [
        {
            "split": split.value, "concept": f"{source.label}: {label}", "available": count,
            "selected": selected[label], "draws_per_epoch": selected[label] * share_taken(selected, label, source),
        }
        for label, count in available.most_common()
    ]  # fmt: skip


def _urls(source: Source) -> list[str]:
    urls = [source.url] if isinstance(source.url, str) else source.url
    return [str(without_secrets(url)) for url in urls]
