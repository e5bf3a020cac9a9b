"""Data sets kept batch by batch: loading gives a handle; the node has done the work when a receipt is saved."""

from __future__ import annotations

from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.layers import with_layer
from biomedica_kedro.datasets.previews import no_preview, preview_of
from biomedica_kedro.records import REJECTS
from biomedica_kedro.report import flow
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.parquet import read_parquet
from biomedica_kedro.stages.place import Place, entries, place
from biomedica_kedro.stages.run import Receipt

T = TypeVar("T")


class BatchDataset(AbstractDataset[Receipt, BatchFolder]):
    """A folder, or a URL, with one committed set of files per batch.

    `load` returns a `BatchFolder`: a cheap handle that reads one batch, all of them, or a pandas data frame. `save`
    takes the receipt of the stage that made it. `exists` is true only when every batch is committed, which makes
    `kedro run --only-missing-outputs` a true resume.

    Example:
        >>> catalog.load("articles").to_pandas(columns=["article_id", "title"])  # doctest: +SKIP
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Take the folder.

        Args:
            filepath: the folder or its URL; the folder it lies in names the layer ("02_intermediate").
            metadata: kept for kedro-viz (preview_args).
        """
        self.folder = BatchFolder(place(filepath))
        self.metadata = with_layer(filepath, metadata)

    def load(self) -> BatchFolder:
        """The handle; reading an unfinished data set from it raises `IncompleteError`."""
        return self.folder

    def save(self, data: Receipt) -> None:
        """Check that the stage has done its work.

        Raises:
            DatasetError: when a batch is not committed.
        """
        if not self.folder.is_complete():
            raise DatasetError(f"{data.output!r} is not complete in {self.folder.path}: run its stage again")

    def preview(self, nrows: int = 10) -> TablePreview:
        """First rows, long values shortened, for kedro-viz; or why there are none."""
        if not self.folder.is_complete():
            return no_preview("not computed yet, or not whole: kedro run")
        tables = [path for path in map(self.folder.file, self.folder.names()) if path.is_file()]
        for path in tables:
            with path.open("rb") as file:
                reader = pq.ParquetFile(file)
                if reader.metadata.num_rows:
                    return preview_of(next(reader.iter_batches(batch_size=nrows)))
        return no_preview("no rows" if tables else f"no table: files in {self.folder.path}")

    def _exists(self) -> bool:
        return self.folder.is_complete()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.folder.path)}


class _LedgerDataset(GivenDataset[T]):
    """What the stages have recorded beside their tables, read from all batch data sets below the data root."""

    given_by = "the stages record it beside their tables"

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Args: filepath: the data root; metadata: kept for kedro-viz."""
        super().__init__(metadata=with_layer(f"{filepath}/08_reporting/", metadata))
        self._root = place(filepath)

    def _data_sets(self) -> list[Place]:
        return [part for layer in _folders(self._root) for part in _folders(layer)]

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._root)}


class RejectsDataset(_LedgerDataset[pa.Table]):
    """What left the flow at any stage, and why: the rejects of all batch data sets as one table."""

    def load(self) -> pa.Table:
        """The rejects (`records.REJECTS`), in order of data set and batch."""
        beside = [folder / "_rejects" for folder in self._data_sets()]
        files = [rejects / entry.name for rejects in beside for entry in sorted(entries(rejects))]
        tables = [read_parquet(file) for file in files if file.name.endswith(".parquet")]
        return pa.concat_tables([REJECTS.empty_table(), *tables])

    def preview(self, nrows: int = 20) -> TablePreview:
        """First rows, for kedro-viz."""
        return preview_of(self.load().slice(0, nrows))


class RunSummaryDataset(_LedgerDataset[dict[str, Any]]):
    """How many records went through the stages that have run, and what left on the way (`report.flow.summary_of`)."""

    def load(self) -> dict[str, Any]:
        """The summary as of now."""
        made = map(BatchFolder, self._data_sets())
        return flow.summary_of({folder.name: folder for folder in made if folder.is_complete()})

    def preview(self) -> TablePreview:
        """The steps, for kedro-viz."""
        steps = [{**step, "left": str(step["left"])} for step in self.load()["flow"]]
        return preview_of(pa.Table.from_pylist(steps)) if steps else no_preview("no stage has run: kedro run")


def _folders(place: Place) -> list[Place]:
    return [place / entry.name for entry in sorted(entries(place)) if entry.n_bytes is None]
