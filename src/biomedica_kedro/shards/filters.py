"""SQL on samples as they pass, a window at a time, for shards without a metadata table.

A condition reads the fields of the records by their names, and under the names of the metadata table what can be
derived from records of the published BIOMEDICA data and of ours, so that one condition serves both ways of reading.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice, product
from typing import Any

import orjson
import pyarrow as pa

from biomedica_kedro.close_match import close_match
from biomedica_kedro.pmc.licenses import license_group
from biomedica_kedro.shards.samples import Sample

Record = Mapping[str, Any]

_KINDS = (pa.null(), pa.string(), pa.list_(pa.string()))
_KINDS_TRIED = 81
_ROW = "biomedica_row"
_VALUE = "biomedica_value"


def _first(record: Record, name: str) -> Any:
    value = record.get(name)
    return (value[0] if value else None) if isinstance(value, list) else value


def _side(record: Record, place: int) -> int | None:
    size = record.get("image_size")
    return int(size[place]) if isinstance(size, list) and len(size) == 2 else None


def _date(record: Record) -> str | None:
    seconds = str(record.get("article_date") or "")
    if not seconds.lstrip("-").isdigit():
        return None
    return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()


# Column of the metadata table: the fields it is derived from, and how.
DERIVED: dict[str, tuple[tuple[str, ...], Callable[[Record], Any]]] = {
    "primary_label": (("image_primary_label",), lambda record: _first(record, "image_primary_label")),
    "primary_labels": (("image_primary_label",), lambda record: record.get("image_primary_label")),
    "secondary_labels": (("image_secondary_label",), lambda record: record.get("image_secondary_label")),
    "panel_type": (("image_panel_type",), lambda record: record.get("image_panel_type")),
    "panel_subtype": (("image_panel_subtype",), lambda record: record.get("image_panel_subtype")),
    "license_code": (("article_license",), lambda record: record.get("article_license")),
    "license_group": (("article_license",), lambda record: str(license_group(record.get("article_license")))),
    "publication_date": (("article_date",), _date),
    "journal": (("article_journal",), lambda record: record.get("article_journal")),
    "pmcid": (("article_accession_id",), lambda record: record.get("article_accession_id")),
    "sha256": (("image_hash",), lambda record: record.get("image_hash")),
    "width": (("image_size",), lambda record: _side(record, 0)),
    "height": (("image_size",), lambda record: _side(record, 1)),
}
_OF_SAMPLE: dict[str, Callable[[Sample], Any]] = {
    "key": lambda sample: sample.key,
    "caption": lambda sample: sample.caption,
    "caption_length": lambda sample: len(sample.caption),
}


def needed_fields(*expressions: str | None) -> set[str]:
    """Fields of the record that expressions read, directly or through `DERIVED`.

    Raises:
        ValueError: when one is not SQL.
    """
    named = {name for text in expressions if text is not None for name in columns_of(text)} - _OF_SAMPLE.keys()
    return named | {field for name in named if name in DERIVED for field in DERIVED[name][0]}


@lru_cache(maxsize=64)
def columns_of(expression: str) -> tuple[str, ...]:
    """Names that an SQL expression reads, as DuckDB parses it.

    Raises:
        ValueError: when it is not SQL.
    """
    query = f"SELECT 1 WHERE ({expression}\n)"
    parsed = orjson.loads(_connection().cursor().execute("SELECT json_serialize_sql(?)", [query]).fetchone()[0])
    if parsed["error"] or not expression.strip():
        raise ValueError(
            f"condition {expression!r} is not SQL: {' '.join(parsed.get('error_message', 'it is empty').split())}"
        )
    return tuple(dict.fromkeys(_references(parsed)))


def chosen(samples: Sequence[Sample], where: str | None, value: str | None = None) -> list[tuple[int, str]]:
    """Which of some samples meet a condition.

    Args:
        samples: a window of a shard.
        where: the condition; None takes all.
        value: an expression wanted of each.
    Returns:
        Place among `samples` and value, as text, in order.
    Raises:
        ValueError: when an expression names what no sample has, or does not fit what they have.
    """
    import duckdb

    if not samples or (where is None and value is None):
        return [(place, "") for place in range(len(samples))]
    names = list(dict.fromkeys(name for text in (where, value) if text is not None for name in columns_of(text)))
    values = {name: _values(samples, name) for name in names}
    query = f"SELECT {_ROW}, coalesce(({value or 'NULL'}\n)::VARCHAR, '') AS {_VALUE} FROM samples"
    query = f"{query} WHERE ({where or 'true'}\n) ORDER BY {_ROW}"
    failed: duckdb.Error | None = None
    # Fields without any value in these samples tell no type: a condition may want a number, a text or a list.
    empty = [name for name, own in values.items() if all(value is None for value in own)]
    for kinds in islice(product(_KINDS, repeat=len(empty)), _KINDS_TRIED):
        columns = {name: _column(own, dict(zip(empty, kinds, strict=True)).get(name)) for name, own in values.items()}
        table = pa.table({_ROW: pa.array(range(len(samples))), **columns})
        cursor = _connection().cursor()
        cursor.register("samples", table)
        try:
            rows = cursor.execute(query).fetchall()
        except duckdb.Error as error:
            failed = failed or error
        else:
            return [(int(row), str(text)) for row, text in rows]
    raise ValueError(f"condition {where!r}: {' '.join(str(failed).split())}; {_has(samples)}") from failed


def unknown_names(samples: Sequence[Sample], *expressions: str | None) -> set[str]:
    """What expressions name and none of some samples has."""
    known = {*_OF_SAMPLE, *DERIVED, *(name for sample in samples for name in sample.record)}
    return {name for text in expressions if text is not None for name in columns_of(text)} - known


def message_on(unknown: Iterable[str], samples: Sequence[Sample]) -> str:
    """Names that are not known, close matches, and what there is."""
    known = {*_OF_SAMPLE, *DERIVED, *(name for sample in samples for name in sample.record)}
    parts = [f"no sample has a field {name!r}: {close_match(name, known)} " for name in sorted(unknown)]
    return f"{''.join(parts)}{_has(samples)}"


def _has(samples: Sequence[Sample]) -> str:
    fields = sorted({name for sample in samples for name in sample.record})
    derived = [name for name, (needed, _) in DERIVED.items() if set(needed) & set(fields)]
    return f"the samples have {', '.join([*_OF_SAMPLE, *derived, *fields])}"


def _values(samples: Sequence[Sample], name: str) -> list[Any]:
    if name in _OF_SAMPLE:
        return [_OF_SAMPLE[name](sample) for sample in samples]
    return [_value(sample.record, name) for sample in samples]


def _column(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    if kind is not None:
        return pa.array(values, kind)
    if all(value is None or value == [] for value in values):
        return pa.array(values, pa.list_(pa.string()))
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types: as JSON
        return pa.array([None if value is None else _as_text(value) for value in values], pa.string())


def _value(record: Record, name: str) -> Any:
    if name in record or name not in DERIVED:
        return record.get(name)
    return DERIVED[name][1](record)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for child in node:
            yield from _references(child)
    elif isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][0]
        bound = {*_references(node.get("lhs"))} if node.get("class") == "LAMBDA" else set()
        for name, child in node.items():
            if not (node.get("class") == "LAMBDA" and name == "lhs"):
                yield from (found for found in _references(child) if found not in bound)


def _connection() -> Any:
    return _connection_of(os.getpid())  # a forked process must not share its parent's


@lru_cache(maxsize=1)
def _connection_of(_: int) -> Any:
    import duckdb

    return duckdb.connect(config={"threads": 1})
