"""Expert votes as a catalog entry: every CSV file of a folder, or the embedded corpus' votes while there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from kedro.io import DatasetError
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.labels.ballots import SEPARATOR, BallotError, read_votes
from biomedica_kedro.stages.place import entries, local_copy, place


class ExpertVotesDataset(GivenDataset[pa.Table]):
    """Votes of people; without any file the table is empty, and everything stays unlabeled."""

    given_by = "experts write votes, see `python -m biomedica_kedro.labels`"

    def __init__(self, *, path: str, default: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        """Args: path: folder of CSV files; default: file read while the folder has none; metadata: for kedro-viz."""
        super().__init__(metadata=metadata)
        self._folder = place(path)
        self._default = place(default) if default else None

    def load(self) -> pa.Table:
        """Rows of all files.

        Raises:
            DatasetError: when a file is not in its form; names the file and the line.
        """
        try:
            return self._rows()
        except BallotError as error:
            raise DatasetError(str(error)) from error

    def preview(self, nrows: int = 10) -> TablePreview:
        """First votes, for kedro-viz."""
        rows = self.load().slice(0, nrows).to_pylist()
        columns = ["expert", "question", "answers", "keys"]
        cells = [[SEPARATOR.join(v) if isinstance(v := row[c], list) else v for c in columns] for row in rows]
        return TablePreview({"index": list(range(len(rows))), "columns": columns, "data": cells})

    def _rows(self) -> pa.Table:
        return read_votes(self._files())

    def _files(self) -> list[Path]:
        names = sorted(entry.name for entry in entries(self._folder) if entry.name.endswith(".csv"))
        own = [local_copy(self._folder / name) for name in names]
        if own or self._default is None or not self._default.is_file():
            return own
        return [local_copy(self._default)]

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder), "default": str(self._default) if self._default else None}
