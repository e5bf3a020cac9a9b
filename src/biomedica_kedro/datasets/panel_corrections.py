"""Corrected panels as a catalog entry: every CSV file of a folder."""

from __future__ import annotations

import pyarrow as pa
from kedro.io import DatasetError
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.panel_corrections import read_corrections


class PanelCorrectionsDataset(ExpertVotesDataset):
    """Panels that people have drawn; without any file the table is empty, and the detected ones stay."""

    given_by = "people draw panels, see `python -m biomedica_kedro.archive`"

    def load(self) -> pa.Table:
        """Rows of `PANEL_CORRECTIONS`, the latest correction of each image.

        Raises:
            DatasetError: when a file is not in the form of corrections; names the file and the line.
        """
        try:
            return read_corrections(self._files())
        except BallotError as error:
            raise DatasetError(str(error)) from error

    def preview(self, nrows: int = 10) -> TablePreview:
        """First boxes, for kedro-viz."""
        rows = self.load().slice(0, nrows)
        cells = [list(row.values()) for row in rows.to_pylist()]
        return TablePreview({"index": list(range(len(cells))), "columns": rows.column_names, "data": cells})
