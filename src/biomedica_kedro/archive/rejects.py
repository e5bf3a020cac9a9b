"""What left the flow at any stage, and why, to look through: read from the tables that lie beside the stages' own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from biomedica_kedro.pmc.identifiers import batch_of
from biomedica_kedro.stages import BatchFolder

_PATTERN = "*/*/_rejects/*.parquet"


class Count(NamedTuple):
    """How many records one stage rejected for one reason."""

    stage: str
    reason: str
    records: int


class Picture(NamedTuple):
    """Where the image of a reject may lie."""

    batch: str
    article_id: str
    file_name: str


@dataclass(frozen=True, slots=True)
class RejectTable:
    """The rejects of a data root, asked with SQL: there may be millions."""

    root: Path

    def counts(self) -> list[Count]:
        """By stage and reason, most first."""
        found = self._asked("stage, reason, count(*) AS records", "GROUP BY ALL ORDER BY records DESC, stage, reason")
        return [Count(row["stage"], row["reason"], row["records"]) for row in found]

    def rows(
        self, *, stage: str = "", reason: str = "", words: str = "", limit: int = 24, skip: int = 0
    ) -> list[Mapping[str, Any]]:
        """Rejects (`records.REJECTS`) in order of source.

        Args:
            stage: of this stage only.
            reason: for this reason only.
            words: a part of source or detail, in any case.
            limit: most rows.
            skip: rows passed over, for the next page.
        """
        wished = {"stage = ?": stage, "reason = ?": reason, "contains(lower(source || ' ' || detail), lower(?))": words}
        given = {test: value for test, value in wished.items() if value}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        tail = f"{where} ORDER BY source, stage LIMIT {int(limit)} OFFSET {int(skip)}"
        return self._asked("source, stage, reason, coalesce(detail, '') AS detail", tail, list(given.values()))

    def picture(self, source: str) -> Picture | None:
        """Where the image of a reject lies, when its source names a figure and its part: "PMC10009416.1/F2/0"."""
        article_id, *parts = source.split("/")
        images = BatchFolder(self.root / "02_intermediate" / "figure_images")
        if len(parts) != 2 or not parts[1].isdecimal() or not images.is_complete():
            return None
        batch = batch_of(article_id, len(images.names()))
        wanted = {"article_id": article_id, "figure_id": parts[0], "part": int(parts[1])}
        rows = images.table(batch, [*wanted, "file_name"]).to_pylist()
        found = [row["file_name"] for row in rows if all(row[name] == value for name, value in wanted.items())]
        return Picture(batch, article_id, found[0]) if found else None

    def _asked(self, columns: str, tail: str, values: list[str] | None = None) -> list[Mapping[str, Any]]:
        import duckdb

        if not any(self.root.glob(_PATTERN)):
            return []
        source = str(self.root / _PATTERN).replace("'", "''")
        found = duckdb.connect().execute(f"SELECT {columns} FROM read_parquet('{source}') {tail}", values or [])
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
