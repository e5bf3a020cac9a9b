"""Reports: what is drawn again only when what it is drawn from has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from kedro.io import AbstractDataset
from kedro.io.core import parse_dataset_definition
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.layers import with_layer
from biomedica_kedro.datasets.previews import no_preview, preview_of
from biomedica_kedro.stages.files import atomic_path, remove, write_json
from biomedica_kedro.stages.node import Drawn, Unchanged
from biomedica_kedro.stages.place import place, read_file

_INPUTS = ".inputs.json"


class ReportDataset(AbstractDataset[Drawn | Unchanged, Any]):
    """Any data set of one file, with a record beside it of what it was drawn from.

    The file appears when it is whole, and after it the record `.scree_plot.json.inputs.json`: a report that a killed
    run left without one does not exist.

    Example:
        scree_plot: {type: ..., dataset: plotly.JSONDataset, filepath: data/08_reporting/scree_plot.json}
    """

    def __init__(
        self,
        *,
        filepath: str,
        dataset: str | Mapping[str, Any],
        save_args: Mapping[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Take the place and the kind.

        Args:
            filepath: the file, or the folder of a partitioned data set.
            dataset: type of the data set, e.g. "plotly.JSONDataset", or its definition.
            save_args: for its writer.
            metadata: kept for kedro-viz (preview_args).
        """
        self._filepath = filepath
        definition = {"type": dataset} if isinstance(dataset, str) else dict(dataset)
        definition |= {"save_args": dict(save_args)} if save_args else {}
        where = "path" if "PartitionedDataset" in str(definition["type"]) else "filepath"
        folder, _, name = filepath.rpartition("/")
        self._record = place(f"{folder}/.{name}{_INPUTS}")
        kind, arguments = parse_dataset_definition({**definition, where: filepath})
        self._made: Callable[..., AbstractDataset[Any, Any]] = partial(kind, **arguments)
        self._inner = self._made()
        self._is_file = where == "filepath"
        self.metadata = with_layer(filepath, metadata)
        if kind.__name__ in ("CSVDataset", "ParquetDataset"):
            self.preview = self._preview_table
        elif hasattr(self._inner, "preview"):
            self.preview = self._inner.preview
        else:
            self.preview = self._preview_text

    def load(self) -> Any:
        """What was drawn; of a picture, which its own data set cannot read, the bytes."""
        if type(self._inner).__name__ == "MatplotlibDataset":
            return read_file(place(self._filepath))
        return self._inner.load()

    def save(self, data: Drawn | Unchanged) -> None:
        """Write what was drawn, then what from; a report that is unchanged is left as it is."""
        if isinstance(data, Unchanged):
            return
        remove(self._record)
        target = place(self._filepath)
        if self._is_file and isinstance(target, Path):  # another array job may read it meanwhile
            with atomic_path(target) as temporary:
                self._made(filepath=str(temporary)).save(data.value)
        else:
            self._inner.save(data.value)
        write_json(self._record, {"inputs": data.inputs})

    def drawn_from(self) -> str | None:
        """Digest of what the report that is there was drawn from; None when there is none."""
        try:
            digest = orjson.loads(read_file(self._record))["inputs"]
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None
        return str(digest) if self._inner.exists() and not self._is_empty() else None

    def _is_empty(self) -> bool:
        """Whether the file has no byte, which no writer leaves: a crashed machine does."""
        file = place(self._filepath)
        return file.is_file() and file.stat().st_size == 0

    def _preview_table(self, nrows: int = 10) -> TablePreview:
        return preview_of(pa.Table.from_pandas(self.load().head(nrows), preserve_index=False))

    def _preview_text(self, nrows: int = 40) -> TablePreview:
        if not self._exists():
            return no_preview("not drawn yet: kedro run")
        value = self.load()
        if isinstance(value, str) and not self._filepath.endswith(".html"):
            return preview_of(pa.table({"text": value.splitlines()[:nrows]}))
        if isinstance(value, list):
            return preview_of(pa.Table.from_pylist(value[:nrows]))
        if isinstance(value, Mapping):
            return preview_of(pa.table({"name": sorted(map(str, value))[:nrows]}))
        return no_preview(f"open {self._filepath}")

    def _exists(self) -> bool:
        return self.drawn_from() is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "dataset": type(self._inner).__name__}


class AbsentReport(AbstractDataset[Any, None]):
    """Stands where a report that is optional has not been drawn: it is None."""

    def load(self) -> None:
        """Nothing."""

    def save(self, data: Any) -> None:
        """Refuse: what is drawn goes to its own place."""
        raise NotImplementedError("a report that is absent is only read")

    def _describe(self) -> dict[str, Any]:
        return {}
