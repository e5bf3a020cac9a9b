"""Arrays in one file: MedMNIST's .npz and PatchCamelyon's HDF5."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from biomedica_kedro.benchmark.loaders.options import H5Options, NpzOptions
from biomedica_kedro.benchmark.loaders.rows import LoaderError, Row, existing, need_columns, png_of, sample
from biomedica_kedro.benchmark.loaders.tables import read_table_file


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
    """Rows of two HDF5 files, plain or gzipped as they are downloaded, with the groups of a CSV beside them.

    Raises:
        LoaderError: see `read_npz`.
    """
    import h5py

    groups = _groups(folder, options)
    with _unpacked(folder, options.images) as packed_images, _unpacked(folder, options.labels) as packed_labels:
        try:
            with h5py.File(packed_images) as image_file, h5py.File(packed_labels) as label_file:
                need_columns(folder / options.images, [options.images_key], list(image_file))
                need_columns(folder / options.labels, [options.labels_key], list(label_file))
                labels = label_file[options.labels_key][:]
                images = image_file[options.images_key]
                yield from _rows(folder / options.images, images, labels.reshape(len(labels), -1), groups)
        except OSError as error:
            names = f"{folder / options.images} or {options.labels}"
            raise LoaderError(f"{names} is not a readable HDF5 file: {error}") from error


def _rows(path: Path, images: Any, labels_NL: npt.NDArray[Any], groups: list[str]) -> Iterator[Row]:
    if len(images) != len(labels_NL) or (groups and len(groups) != len(images)):
        raise LoaderError(f"{path}: {len(images)} images, {len(labels_NL)} labels, {len(groups)} groups")
    is_multilabel = labels_NL.shape[1] > 1
    for at in range(len(images)):
        values = [int(value) for value in labels_NL[at]]
        answer = {"labels": values} if is_multilabel else {"label": values[0]}
        group = groups[at] if groups else None
        yield sample(f"{path.name.partition('.')[0]}-{at:06d}", png_of(images[at]), group_id=group, **answer)


@contextmanager
def _unpacked(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """The file, or what its .gz copy holds: unpacked where nothing is left of it, for HDF5 is not read in order.

    Raises:
        LoaderError: when neither is there, or the copy is damaged.
    """
    if not (folder / name).exists() and (folder / f"{name}.gz").exists():
        packed = folder / f"{name}.gz"
        place = folder if os.access(folder, os.W_OK) else None
        with tempfile.TemporaryFile(dir=place) as plain:
            try:
                with gzip.open(packed) as source:
                    shutil.copyfileobj(source, plain, 1 << 20)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise LoaderError(f"{packed} is damaged or not complete: {error}; download it again") from error
            yield plain
        return
    with existing(folder, name).open("rb") as file:
        yield file


def _groups(folder: Path, options: H5Options) -> list[str]:
    if not options.groups or not (folder / options.groups).exists():
        return []
    table = read_table_file(folder / options.groups, [options.group_column])
    return [str(value) for value in table[options.group_column]]
