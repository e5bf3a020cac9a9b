"""Corrected panels as a catalog entry: every CSV file of a folder."""

from __future__ import annotations

import pyarrow as pa
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.datasets.previews import preview_of
from biomedica_kedro.labels.panel_corrections import read_corrections


class PanelCorrectionsDataset(ExpertVotesDataset):
    """Panels that people have drawn, the latest correction of each image; without any file the detected ones stay."""

    given_by = "people draw panels, see `python -m biomedica_kedro.archive`"

    def preview(self, nrows: int = 10) -> TablePreview:
        """First boxes, for kedro-viz."""
        return preview_of(self.load().slice(0, nrows))

    def _rows(self) -> pa.Table:
        return read_corrections(self._files())
