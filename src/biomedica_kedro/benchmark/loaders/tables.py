"""Tables beside images: CSV in whatever separator, TSV, XLSX or JSON Lines, and the column a task file means.

Copies of a data set differ in separators and in how a heading is written ("Abdominal wall", "abdominal_wall"): the
separator is the one under which the wanted columns are found, a heading is found by its letters and digits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.close_match import close_match

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = (",", ";", "\t", "|", r"\s+")
_NOT_IN_HEADING = re.compile(r"[\W_]+")


def read_table_file(path: Path, wanted: Sequence[str], sheet: str = "") -> pd.DataFrame:
    """The table with every cell a string, "" where blank, and the wanted columns under the names asked for.

    Args:
        path: of the table.
        wanted: columns the task file names.
        sheet: of an XLSX file; the first one when empty.
    Raises:
        LoaderError: when the file is no table or a column is missing; names what is there.
    """
    import pandas as pd

    try:
        table = _read(path, wanted, sheet)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise LoaderError(f"{path} is not a readable table: {error}") from error
    there = [str(name) for name in table.columns]
    found = {_column(path, name, there): name for name in wanted}
    return table.rename(columns=found)


def _read(path: Path, wanted: Sequence[str], sheet: str) -> pd.DataFrame:
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix in {".xlsx", ".xls"}:
        return pd.read_excel(path, sheet_name=sheet or 0, dtype=str).fillna("")
    if suffix in {".jsonl", ".ndjson"}:
        return pd.read_json(path, lines=True, dtype=False).astype("string").fillna("").astype(str)
    found = []
    for separator in _SEPARATORS:
        try:
            table = _read_csv(path, separator)
        except pd.errors.ParserError:
            continue  # not this separator
        headings = {_letters(str(name)) for name in table.columns}
        found.append((sum(_letters(name) in headings for name in wanted), table))
        if found[-1][0] == len(set(wanted)):
            break
    if not found:
        raise ValueError("no separator among comma, semicolon, tab, bar and blanks gives rows of one length")
    return max(found, key=lambda each: each[0])[1]


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(
        path, dtype=str, sep=separator, keep_default_na=False, encoding="utf-8-sig",
        engine="c" if len(separator) == 1 else "python",
    )  # fmt: skip


def _column(path: Path, name: str, there: Sequence[str]) -> str:
    """The heading that a name means: the same one, or the only one of the same letters.

    Raises:
        LoaderError: naming the close match.
    """
    if name in there:
        return name
    same = [heading for heading in there if _letters(heading) == _letters(name)]
    if len(same) == 1:
        return same[0]
    raise LoaderError(f"{path} has no column {name!r}: {close_match(name, there)}")


def _letters(heading: str) -> str:
    return _NOT_IN_HEADING.sub("", heading.casefold())
