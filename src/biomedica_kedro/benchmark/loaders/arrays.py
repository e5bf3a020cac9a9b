"""Arrays in one file: MedMNIST's .npz and PatchCamelyon's HDF5."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark.loaders.options import H5Options, NpzOptions
from biomedica_kedro.benchmark.loaders.rows import LoaderError, Row, existing, need_columns, png_of, sample


def read_npz(folder: Path, options: NpzOptions) -> Iterator[Row]:
    """Rows of one split; a label row of several columns is a multilabel row.

    Raises:
        LoaderError: when the file or the split is missing, or labels and images differ in number.
    """
    path = existing(folder, options.file)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            need_columns(path, [f"{options.split}_images", f"{options.split}_labels"], list(arrays))
            images, labels = arrays[f"{options.split}_images"], arrays[f"{options.split}_labels"]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise LoaderError(f"{path} is not a readable .npz file: {error}") from error
    yield from _rows(path, images, labels.reshape(len(labels), -1), [])


def read_h5(folder: Path, options: H5Options) -> Iterator[Row]:
    """Rows of two HDF5 files, plain or gzipped, with the groups of a CSV beside them.

    Raises:
        LoaderError: see `read_npz`.
    """
    import h5py

    image_path, label_path = (_unpacked(folder, name) for name in (options.images, options.labels))
    groups = _groups(folder, options)
    try:
        with h5py.File(image_path) as image_file, h5py.File(label_path) as label_file:
            need_columns(image_path, [options.images_key], list(image_file))
            need_columns(label_path, [options.labels_key], list(label_file))
            labels = label_file[options.labels_key][:]
            yield from _rows(image_path, image_file[options.images_key], labels.reshape(len(labels), -1), groups)
    except OSError as error:
        raise LoaderError(f"{image_path} or {label_path} is not a readable HDF5 file: {error}") from error


def _rows(path: Path, images: Any, labels_NL: npt.NDArray[Any], groups: list[str]) -> Iterator[Row]:
    if len(images) != len(labels_NL) or (groups and len(groups) != len(images)):
        raise LoaderError(f"{path}: {len(images)} images, {len(labels_NL)} labels, {len(groups)} groups")
    is_multilabel = labels_NL.shape[1] > 1
    for at in range(len(images)):
        values = [int(value) for value in labels_NL[at]]
        answer = {"labels": values} if is_multilabel else {"label": values[0]}
        group = groups[at] if groups else None
        yield sample(f"{path.name.partition('.')[0]}-{at:06d}", png_of(images[at]), group_id=group, **answer)


def _unpacked(folder: Path, name: str) -> Path:
    """The file, or what its .gz copy holds, unpacked beside it."""
    packed = folder / f"{name}.gz"
    if not (folder / name).exists() and packed.exists():
        partial = folder / f".{name}.tmp"
        with gzip.open(packed) as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        partial.replace(folder / name)
    return existing(folder, name)


def _groups(folder: Path, options: H5Options) -> list[str]:
    if not options.groups or not (folder / options.groups).exists():
        return []
    import pandas as pd

    table = pd.read_csv(folder / options.groups, dtype=str)
    need_columns(folder / options.groups, [options.group_column], list(table.columns))
    return [str(value) for value in table[options.group_column]]
