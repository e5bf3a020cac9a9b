"""What an extraction came to, in numbers: one long table of counts, made batch by batch in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.stages import BatchFolder

CORPUS_SUMMARY = pa.schema(
    [("measure", pa.string()), ("name", pa.string()), ("detail", pa.string()), ("count", pa.int64())]
)

CAPTION_BINS = (50, 100, 200, 300, 400, 600, 800, 1000, 1500, 2000, 3000, 5000)
"""Upper ends of the bins of caption length, in characters; the last bin is open."""

Key = tuple[str, str, str]


def summarize(
    articles: BatchFolder, figures: BatchFolder, pairs: BatchFolder, rejects: Mapping[str, pa.Table]
) -> pa.Table:
    """Count articles, figures, mentions, pairs and rejects.

    Args:
        articles: the data set `articles`.
        figures: the data set `figures`.
        pairs: the data set `image_caption_pairs`.
        rejects: tables of rejects, by the data set they are missing from.
    Returns:
        Rows `(measure, name, detail, count)`, sorted.
    """
    counts: Counter[Key] = Counter()
    for table in _tables(articles, ["journal", "publication_date", "license_code", "license_group", "recovered"]):
        _count_articles(counts, table)
    for table in _tables(figures, ["kind", "mentions"]):
        counts["total", "figures", ""] += table.num_rows
        _count_values(counts, "figures by kind", table["kind"])
        mentions = pc.list_flatten(table["mentions"].combine_chunks())
        counts["total", "mentions", ""] += len(mentions)
        _count_values(counts, "mentions by way", pc.struct_field(mentions, "via"))
    for table in _tables(pairs, ["caption", "license_group", "mentions"]):
        _count_pairs(counts, table)
    for name, table in rejects.items():
        counts["total", f"rejects of {name.replace('_', ' ')}", ""] += table.num_rows
        for stage, reason in zip(table["stage"].to_pylist(), table["reason"].to_pylist(), strict=True):
            counts["rejects", reason, stage] += 1
    rows = [(*key, count) for key, count in sorted(counts.items())]
    columns = list(zip(*rows, strict=True)) or [()] * len(CORPUS_SUMMARY)
    return pa.table([list(column) for column in columns], schema=CORPUS_SUMMARY)


def caption_bin(length: int) -> str:
    """Name of the bin a caption's length falls in: "0101-0200"; names sort like numbers."""
    low = 0
    for high in CAPTION_BINS:
        if length <= high:
            return f"{low:04d}-{high:04d}"
        low = high + 1
    return f"{low:04d} and more"


def _tables(folder: BatchFolder, columns: Sequence[str]) -> Iterator[pa.Table]:
    return (folder.table(name, columns) for name in folder.names())


def _count_articles(counts: Counter[Key], table: pa.Table) -> None:
    counts["total", "articles", ""] += table.num_rows
    counts["total", "repaired articles", ""] += cast(int, pc.sum(table["recovered"]).as_py() or 0)
    _count_values(counts, "articles by journal", table["journal"])
    _count_values(counts, "articles by license", table["license_code"])
    years = pc.utf8_slice_codeunits(pc.fill_null(table["publication_date"], "unknown"), 0, 7)
    for date, group in zip(years.to_pylist(), table["license_group"].to_pylist(), strict=True):
        counts["articles by year", date if date == "unknown" else date[:4], group] += 1


def _count_pairs(counts: Counter[Key], table: pa.Table) -> None:
    counts["total", "pairs", ""] += table.num_rows
    _count_values(counts, "pairs by license group", table["license_group"])
    for length in pc.utf8_length(table["caption"]).to_pylist():
        counts["pairs by caption length", caption_bin(length), ""] += 1
    for n_mentions in pc.list_value_length(table["mentions"]).to_pylist():
        counts["pairs by mentions", str(n_mentions) if n_mentions < 10 else "10 and more", ""] += 1


def _count_values(counts: Counter[Key], measure: str, values: pa.Array | pa.ChunkedArray) -> None:
    pairs: Sequence[Mapping[str, object]] = pc.value_counts(pc.fill_null(values, "unknown")).to_pylist()
    for pair in pairs:
        counts[measure, str(pair["values"]), ""] += cast(int, pair["counts"])
