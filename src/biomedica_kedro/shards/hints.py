"""Words for a condition or a column that fits nothing: what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from biomedica_kedro.close_match import close_match

if TYPE_CHECKING:
    import duckdb

_EQUALS = re.compile(r"(?<!\w)\"?(?P<column>\w+)\"?\s*=\s*'(?P<value>[^']*)'")
_CONTAINS = re.compile(r"list_contains\(\s*\"?(?P<column>\w+)\"?\s*,\s*'(?P<value>[^']*)'\s*\)", re.I)
_NAMED = re.compile(r"column \"?(?P<name>\w+)\"?", re.I)


def hint_of_error(error: str, columns: Iterable[str]) -> str:
    """What to write instead of the column an error of DuckDB names; all columns when it names none."""
    named = _NAMED.search(error)
    if named is None:
        return f"columns are {', '.join(columns)}"
    return f"there is no column {named['name']!r}: {close_match(named['name'], columns)}"


def check_values(rows: duckdb.DuckDBPyRelation, where: str) -> None:
    """Refuse a condition that no sample meets because it names a value that its column does not have.

    Args:
        rows: the metadata table.
        where: a condition that gave no rows.
    Raises:
        ValueError: names column and value, and the value that comes close.
    """
    for found in (*_EQUALS.finditer(where), *_CONTAINS.finditer(where)):
        column, value = found["column"], found["value"]
        if column in rows.columns:
            known = _values(rows, column)
            if known and value not in known:
                raise ValueError(
                    f"condition {where!r} chooses no sample: no {column} is {value!r}; {close_match(value, known)}"
                )


def check_columns(columns: Sequence[str] | None, known: Iterable[str]) -> None:
    """Refuse wanted fields that no record has.

    Raises:
        ValueError: names the field, and the one that comes close.
    """
    names = list(known)
    for column in columns or ():
        if column not in names:
            raise ValueError(f"records have no field {column!r}: {close_match(column, names)}")


def _values(rows: duckdb.DuckDBPyRelation, column: str) -> list[str]:
    """Distinct texts of a column, or of the lists in it; none where it holds something else."""
    kind = str(rows.types[rows.columns.index(column)])
    if kind not in ("VARCHAR", "VARCHAR[]"):
        return []
    value = f'unnest("{column}")' if kind.endswith("[]") else f'"{column}"'
    return [row[0] for row in rows.project(f"{value} as v").distinct().fetchall() if row[0] is not None]
