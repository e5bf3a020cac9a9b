"""Data sets kept batch by batch: loading gives a handle, saving runs the plan that makes the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from biomedica_kedro.batches import BatchFolder, PlannedOutput, TaskError

_PREVIEW_CHARACTERS = 120


class BatchDataset(AbstractDataset[PlannedOutput, BatchFolder]):
    """A folder with one committed set of files per batch.

    `load` returns a `BatchFolder`: a cheap handle that reads one batch, all of them, or a pandas data frame. `save`
    takes a `PlannedOutput` and, when it is the last output of its plan, does the work. `exists` is true only when every
    batch is committed, which makes `kedro run --only-missing-outputs` a true resume.

    Example:
        >>> catalog.load("articles").to_pandas(columns=["article_id", "title"])  # doctest: +SKIP
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Take the folder.

        Args:
            filepath: the folder.
            metadata: kept for kedro-viz (layer, preview_args).
        Raises:
            ValueError: when the folder is a URL: a batch is finished by renaming, which object stores cannot do.
        """
        if "://" in filepath:
            raise ValueError(
                f"filepath is {filepath!r}, expected a folder: mount the store, or write to a disk and copy what is "
                "finished there by serialization.push_to_hub.url"
            )
        self._folder = BatchFolder(Path(filepath))
        self.metadata = metadata

    def load(self) -> BatchFolder:
        """The handle; reading an unfinished data set from it raises `IncompleteError`."""
        return self._folder

    def save(self, data: PlannedOutput) -> None:
        """Give the output its place; runs the plan when every output of the node has one.

        Raises:
            DatasetError: when a batch fails; says the stage, the batch and the cause.
        """
        try:
            data.deliver(self._folder)
        except TaskError as error:
            raise DatasetError(str(error)) from error

    def preview(self, nrows: int = 10) -> TablePreview:
        """First rows, long values shortened, for kedro-viz."""
        for batch in self._folder.names():
            path = self._folder.file(batch)
            if path.is_file() and pq.read_metadata(path).num_rows:
                rows = next(pq.ParquetFile(path).iter_batches(batch_size=nrows)).to_pylist()
                columns = list(rows[0])
                return TablePreview(
                    {
                        "index": list(range(len(rows))),
                        "columns": columns,
                        "data": [[_short(row[c]) for c in columns] for row in rows],
                    }
                )
        return TablePreview({"index": [], "columns": [], "data": []})

    def _exists(self) -> bool:
        return self._folder.is_complete()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder.path)}


def _short(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= _PREVIEW_CHARACTERS else f"{text[:_PREVIEW_CHARACTERS]}…"
