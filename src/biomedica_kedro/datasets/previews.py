"""What kedro-viz shows of a data set: rows, settings, or why there is nothing to see."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from kedro_datasets._typing import TablePreview

_CHARACTERS = 120


class SettingsPreview:
    """Shows what a data set that holds no rows (a source, a model, a log) is set to."""

    def preview(self) -> TablePreview:
        """Settings and their values, for kedro-viz."""
        settings: dict[str, Any] = self._describe()  # type: ignore[attr-defined]
        rows = [[name, _short(value)] for name, value in settings.items()]
        return TablePreview({"index": list(range(len(rows))), "columns": ["setting", "value"], "data": rows})


def preview_of(rows: pa.Table | pa.RecordBatch) -> TablePreview:
    """Rows as kedro-viz shows them, long values shortened."""
    data = [[_short(value) for value in row.values()] for row in rows.to_pylist()]
    return TablePreview({"index": list(range(len(data))), "columns": rows.schema.names, "data": data})


def no_preview(why: str) -> TablePreview:
    """Why kedro-viz has nothing to show."""
    return TablePreview({"index": [0], "columns": ["no preview"], "data": [[why]]})


def _short(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
