"""The taxonomy as a catalog entry: the tree that ships with the package, or a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import DatasetError
from kedro_datasets._typing import JSONPreview

from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.taxonomy import BIOMEDICA, Taxonomy, TaxonomyError, load_taxonomy


class TaxonomyDataset(GivenDataset[Taxonomy]):
    """A strictly checked YAML file of concepts."""

    given_by = "a taxonomy is written by people"

    def __init__(self, *, filepath: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        """Args: filepath: a taxonomy file; the package's own when absent; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        self._path = Path(filepath) if filepath else BIOMEDICA

    def load(self) -> Taxonomy:
        """The tree.

        Raises:
            DatasetError: when the file is broken or absent; names the key and the close match.
        """
        try:
            return load_taxonomy(self._path)
        except (TaxonomyError, OSError) as error:
            raise DatasetError(str(error)) from error

    def preview(self) -> JSONPreview:
        """The whole tree, for kedro-viz."""
        return JSONPreview(self.load().model_dump_json())

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._path.name}
