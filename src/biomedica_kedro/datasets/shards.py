"""The shards as a catalog entry."""

from __future__ import annotations

from typing import Any

from biomedica_kedro.datasets.batches import BatchDataset
from biomedica_kedro.shards.folder import ShardFolder


class ShardsDataset(BatchDataset):
    """A `BatchDataset` whose handle streams: `for sample in catalog.load("dataset_shards")`."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Args: filepath: the folder or its URL; metadata: kept for kedro-viz."""
        super().__init__(filepath=filepath, metadata=metadata)
        self.folder = ShardFolder(self.folder.path)
