"""Read a task's data as distributed, whichever kind they are of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from biomedica_kedro.benchmark.loaders import arrays, columns, files
from biomedica_kedro.benchmark.loaders.options import (
    DicomOptions,
    FolderOptions,
    H5Options,
    NpzOptions,
    ParquetOptions,
    TableOptions,
    VideoOptions,
)
from biomedica_kedro.benchmark.loaders.rows import LoaderError, RowOrReject
from biomedica_kedro.benchmark.task import Kind, Task


def read_distributed(task: Task, folder: Path) -> Iterator[RowOrReject]:
    """Rows in interchange form, and a reject for each row that cannot be used.

    Args:
        task: whose `loader` says how to read, or `hub_copy` where the folder holds Parquet or Arrow files.
        folder: the data as distributed, unpacked.
    Raises:
        LoaderError: when files or columns are missing.
    """
    names = [cls.name for cls in task.classes]
    if task.hub_copy is not None and columns.are_in(folder, task.hub_copy):
        return columns.read_columns(folder, task.hub_copy)
    match task.loader:
        case NpzOptions():
            return arrays.read_npz(folder, task.loader)
        case H5Options():
            return arrays.read_h5(folder, task.loader)
        case FolderOptions():
            return files.read_folders(folder, task.loader, names)
        case TableOptions():
            return files.read_table(folder, task.loader, names, is_multilabel=task.kind is Kind.MULTILABEL)
        case DicomOptions():
            return files.read_dicom(folder, task.loader)
        case ParquetOptions():
            return columns.read_columns(folder, task.loader)
        case VideoOptions():
            return files.read_videos(folder, task.loader, names)
        case None:
            raise LoaderError(f"task {task.id!r} has no `loader`: its samples are delivered in interchange form")
