"""A Parquet file that may be absent: an empty table with the same columns stands in for it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.previews import no_preview, preview_of
from biomedica_kedro.stages.parquet import read_parquet
from biomedica_kedro.stages.place import place


class OptionalTableDataset(GivenDataset[pa.Table]):
    """Facts that are known of some corpora only, such as the true classes of a procedural one."""

    def __init__(self, *, filepath: str, columns: list[str], metadata: dict[str, Any] | None = None) -> None:
        """Args: filepath: the file; columns: those that are read; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        self._path = place(filepath)
        self._columns = columns

    def load(self) -> pa.Table:
        """The columns, without rows when the file is absent."""
        if not self._path.is_file():
            return pa.table({name: pa.array([], pa.string()) for name in self._columns})
        return read_parquet(self._path, self._columns)

    def preview(self, nrows: int = 10) -> TablePreview:
        """First rows, for kedro-viz; or that there are none."""
        table = self.load().slice(0, nrows)
        return preview_of(table) if table.num_rows else no_preview(f"{self._path} is absent: nothing is known")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
