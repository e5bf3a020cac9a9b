"""What the index holds of a pair: its texts, its vector, and what may be filtered by.

Columns that `dataset_metadata` has too have its names and meanings, so that a condition found by looking is a recipe
for training as it stands. `split` is null where a pair is not published. Vectors are null where there is none.
"""

# Shapes: N pairs, E dimensions of the model.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import DATASET_METADATA
from biomedica_kedro.shards.attribution import attribution_line, link_of
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.identity import combined

VECTOR = "vector"
VERSION = 1  # raised by a person when the same tables give other rows
TEXTS: Mapping[str, float] = {"caption": 2.0, "mentions": 1.0, "title": 1.0}
"""Columns that words are looked for in, and how much a word there weighs."""

_S = pa.string()
_SHARED = (
    "key", "article_id", "journal", "publication_date", "article_type", "language", "license_code", "license_group",
    "redistributable", "attribution", "kind", "label", "caption", "width", "height", "cluster_id", "panel_type",
    "panel_subtype", "primary_label", "primary_labels", "secondary_labels", "label_confidence", "split",
)  # fmt: skip
_OWN = {"batch": _S, "title": _S, "mentions": _S, "link": _S, "file_name": _S}
_NAMED_OTHERWISE = {"label_confidence": "confidence"}
_OF_ARTICLE = ("article_id", "title", "journal", "publication_date", "article_type", "language", "authors", "doi")
_OF_PAIR = (
    "key", "article_id", "kind", "label", "caption", "mentions", "license_code", "license_group", "redistributable",
    "width", "height", "file_name",
)  # fmt: skip
_OF_LABEL = ("cluster_id", "panel_type", "panel_subtype", "primary_labels", "secondary_labels", "label_confidence")


def row_schema(dimensions: int) -> pa.Schema:
    """Schema of the index: N rows, the vector float16 and L2-normalized."""
    shared = [DATASET_METADATA.field(name) for name in _SHARED]
    vector = pa.field(VECTOR, pa.list_(pa.float16(), dimensions))
    return pa.schema([*shared, *(pa.field(name, kind) for name, kind in _OWN.items()), vector])


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTables:
    """The data sets that rows are made of, all cut into the same batches.

    Attributes:
        pairs: `image_caption_pairs`.
        articles: `articles`.
        vectors: `archive_vectors`; a pair without one has none.
        labels: `image_labels`; None leaves everything unlabeled.
        samples: `prepared_samples`; None leaves open what is published.
    """

    pairs: BatchFolder
    articles: BatchFolder
    vectors: BatchFolder
    labels: BatchFolder | None = None
    samples: BatchFolder | None = None

    def digests(self) -> dict[str, str]:
        """What the rows of each batch are made from, by batch."""
        folders = [self.pairs, self.articles, self.vectors, self.labels, self.samples]
        given = {folder.name: folder for folder in folders if folder is not None}
        return {
            batch: combined({"version": VERSION, **{name: folder.digest(batch) for name, folder in given.items()}})
            for batch in self.pairs.names()
        }

    @property
    def dimensions(self) -> int:
        """Dimensions of the vectors."""
        first = self.vectors.table(self.vectors.names()[0], ["embedding"])
        return int(first.schema.field("embedding").type.list_size)

    def rows(self, batch: str) -> pa.Table:
        """Rows of one batch, in the order of its pairs."""
        pairs = self.pairs.table(batch, list(_OF_PAIR))
        articles = {row["article_id"]: row for row in self.articles.table(batch, list(_OF_ARTICLE)).to_pylist()}
        labels = {} if self.labels is None else _by_key(self.labels.table(batch))
        splits = {} if self.samples is None else _by_key(self.samples.table(batch, ["key", "split"]))
        rows = [
            _row(pair, articles.get(pair["article_id"], {"article_id": pair["article_id"]}), batch, labels, splits)
            for pair in pairs.to_pylist()
        ]
        schema = row_schema(self.dimensions)
        texts = pa.Table.from_pylist(rows, schema=pa.schema(list(schema)[:-1]))
        return texts.append_column(schema.field(VECTOR), self._vectors(batch, pairs["key"], schema.field(VECTOR).type))

    def _vectors(self, batch: str, keys: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
        found = self.vectors.table(batch)
        if not found.num_rows:
            return pa.nulls(len(keys), kind)
        vectors = found["embedding"].combine_chunks().cast(kind)
        return vectors.take(pc.index_in(keys.combine_chunks(), value_set=found["key"].combine_chunks()))


def facet_columns() -> tuple[str, ...]:
    """Columns with few enough values to choose from."""
    return ("license_group", "panel_type", "primary_labels", "secondary_labels", "journal", "kind", "split")


def count_facets(rows: Iterator[pa.RecordBatch]) -> pa.Table:
    """How many images each value of each facet has, in one pass.

    Returns:
        column, value, images; most frequent first. A null counts as "", a list counts once for each of its values.
    """
    counted: dict[str, dict[str, int]] = {name: {} for name in facet_columns()}
    for batch in rows:
        for name, counts in counted.items():
            column = batch.column(name)
            values = pc.list_flatten(column) if pa.types.is_list(column.type) else pc.fill_null(column, "")
            for pair in pc.value_counts(values).to_pylist():
                counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]
    found = [
        {"column": name, "value": value, "images": n}
        for name, counts in counted.items()
        for value, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return pa.Table.from_pylist(found, schema=pa.schema({"column": _S, "value": _S, "images": pa.int64()}))


def _row(
    pair: Mapping[str, Any],
    article: Mapping[str, Any],
    batch: str,
    labels: Mapping[str, Mapping[str, Any]],
    splits: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    label = labels.get(pair["key"], {})
    named = {name: label.get(_NAMED_OTHERWISE.get(name, name)) for name in _OF_LABEL}
    primary = named["primary_labels"] or []
    return {
        **{name: article.get(name) for name in _OF_ARTICLE if name not in ("authors", "doi")},
        **pair,
        **named,
        "primary_labels": primary,
        "secondary_labels": named["secondary_labels"] or [],
        "primary_label": primary[0] if primary else None,
        "redistributable": pair["redistributable"] is not False,
        "mentions": "\n\n".join(pair["mentions"] or ()),
        "attribution": attribution_line(article, pair["license_code"]),
        "link": link_of(article),
        "batch": batch,
        "split": splits.get(pair["key"], {}).get("split"),
    }


def _by_key(table: pa.Table) -> dict[str, Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = table.to_pylist()
    return {row["key"]: row for row in rows}
