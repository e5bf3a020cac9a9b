"""One data set of the benchmark as it is distributed, in miniature: a few drawn tiles a class, in its own file format.

Class names, columns and file names are those that the task's loader expects; the pictures are stripes and speckles.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from biomedica_kedro.benchmark.loaders.options import (
    DicomOptions,
    FolderOptions,
    H5Options,
    NpzOptions,
    ParquetOptions,
    TableOptions,
    VideoOptions,
)
from biomedica_kedro.benchmark.task import Kind, Task

PER_CLASS = 3
_SIDE = 48
_SEPARATE_OPTIONS = ("light microscopy", "fluorescence microscopy", "electron microscopy", "none of these")

Pixels = npt.NDArray[np.uint8]


def write_distributed(task: Task, folder: Path) -> None:
    """Write the data set of one task, as its loader reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    match task.loader:
        case NpzOptions():
            _write_npz(task, folder, task.loader)
        case H5Options():
            _write_h5(task, folder, task.loader)
        case FolderOptions():
            _write_folders(task, folder, task.loader)
        case TableOptions():
            _write_table(task, folder, task.loader)
        case DicomOptions():
            _write_dicom(task, folder, task.loader)
        case ParquetOptions():
            _write_parquet(task, folder, task.loader)
        case VideoOptions():
            _write_video(task, folder, task.loader)


def draw_tile(position: int, of: int, seed: int) -> Pixels:
    """A striped and speckled tile whose color and stripes tell its class, position of `of`."""
    rng = np.random.default_rng([position, of, seed])
    row, column = np.mgrid[:_SIDE, :_SIDE]
    angle, turn = np.pi * position / max(of, 1), 2 * np.pi * position / max(of, 1)
    stripes = np.sin((row * np.sin(angle) + column * np.cos(angle)) / (2.0 + position % 3) + rng.uniform(0, 6))
    color = 128 + 90 * np.array([np.cos(turn), np.cos(turn + 2.1), np.cos(turn + 4.2)])
    tile = color + 25 * stripes[:, :, None] + rng.normal(0, 12, (_SIDE, _SIDE, 3))
    return np.asarray(np.clip(tile, 0, 255), dtype=np.uint8)


def _samples(task: Task) -> Iterator[tuple[int, int, Pixels]]:
    """Class, number within the class, picture."""
    n_classes = max(1, len(task.classes))
    for position in range(n_classes):
        for number in range(PER_CLASS):
            yield position, number, draw_tile(position, n_classes, number)


def _flags(task: Task, position: int) -> list[int]:
    """Labels of a multilabel sample: its class, and the next one on every other class."""
    return [int(at == position or (position % 2 == 0 and at == position + 1)) for at in range(len(task.classes))]


def _write_npz(task: Task, folder: Path, options: NpzOptions) -> None:
    labels = [_flags(task, at) if task.kind is Kind.MULTILABEL else [at] for at, _, _ in _samples(task)]
    images = np.stack([picture for _, _, picture in _samples(task)])
    arrays = {f"{options.split}_images": images, f"{options.split}_labels": np.array(labels, np.uint8)}
    np.savez(folder / options.file, **arrays)  # type: ignore[arg-type]


def _write_h5(task: Task, folder: Path, options: H5Options) -> None:
    import h5py

    labels = np.array([at for at, _, _ in _samples(task)], np.uint8).reshape(-1, 1, 1, 1)
    with h5py.File(folder / options.images, "w") as file:
        file[options.images_key] = np.stack([picture for _, _, picture in _samples(task)])
    with h5py.File(folder / options.labels, "w") as file:
        file[options.labels_key] = labels
    if options.groups:
        rows = [{options.group_column: f"slide_{number}"} for _, number, _ in _samples(task)]
        _write_csv(folder / options.groups, rows)


def _write_folders(task: Task, folder: Path, options: FolderOptions) -> None:
    names = {label: name for name, label in options.folders.items()}
    suffix = Path(options.files).suffix or ".png"
    for position, number, picture in _samples(task):
        name = task.classes[position].name
        path = folder / names.get(name, name) / f"{number:02d}" / f"image{number:02d}{suffix}"
        if "/" not in options.files:
            path = path.parent.parent / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encoded(picture, "JPEG" if suffix in {".jpg", ".jpeg"} else "PNG"))


def _write_table(task: Task, folder: Path, options: TableOptions) -> None:
    rows: list[dict[str, object]] = []
    for position, number, picture in _samples(task):
        name = f"patient{position:03d}{number:02d}/view1.jpg"
        path = folder / options.image_pattern.replace("{}", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encoded(picture, "JPEG"))
        if len(options.label_columns) == 1:
            answer: dict[str, object] = {options.label_columns[0]: task.classes[position].name}
        else:
            answer = dict(zip(options.label_columns, _flags(task, position), strict=True))
        rows.append({options.image_column: name, **answer})
    _write_csv(folder / options.file, rows)


def _write_dicom(task: Task, folder: Path, options: DicomOptions) -> None:
    rows: list[dict[str, object]] = []
    for position, number, picture in _samples(task):
        name = f"standin-{position}-{number}"
        path = folder / options.image_pattern.replace("{}", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _save_dicom(path, picture[:, :, 0], name)
        rows.append({options.image_column: name, options.label_column: task.classes[position].name})
    _write_csv(folder / options.file, [*rows, rows[-1]])


def _save_dicom(path: Path, gray: Pixels, name: str) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = gray.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = np.ascontiguousarray(gray).tobytes()
    file.save_as(path, enforce_file_format=True)


def _write_parquet(task: Task, folder: Path, options: ParquetOptions) -> None:
    rows = list(_hub_rows(task, options))
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")


def _hub_rows(task: Task, options: ParquetOptions) -> Iterator[dict[str, Any]]:
    for at in range(12) if not task.classes else ():
        shared: dict[str, Any] = {
            options.image_column: {"bytes": _encoded(draw_tile(at % 4, 4, at), "PNG"), "path": None}
        }
        shared |= _columns(options, f"standin-{at:03d}")
        if options.caption_column:
            yield {**shared, options.caption_column: f"Stand-in picture number {at}, colored stripes."}
            continue
        options_of_row = [_SEPARATE_OPTIONS[(at + turn) % 4] for turn in range(4)]
        question = {"options": options_of_row, "answer": _SEPARATE_OPTIONS[at % 4]}
        outer, middle, _ = options.wordings()[0].options.split(".")
        yield {**shared, outer: {middle: question}}
    for position, number, picture in _samples(task) if task.classes else ():
        identity = f"standin-{position}-{number}"
        image = {"bytes": _encoded(picture, "PNG"), "path": None}
        label = {options.label_column: task.classes[position].name}
        yield {options.image_column: image, **label, **_columns(options, identity)}


def _columns(options: ParquetOptions, identity: str) -> dict[str, str | None]:
    columns = dict(options.where)
    if options.id_column:
        columns[options.id_column] = identity
    if options.license_column:
        columns[options.license_column] = "CC0 1.0"
    if options.group_column:
        columns[options.group_column] = identity
    return columns


def _write_video(task: Task, folder: Path, options: VideoOptions) -> None:
    names = [cls.name for cls in task.classes]
    frames = [Image.fromarray(picture) for _, _, picture in _samples(task)]
    rows: list[dict[str, object]] = []
    for at, (position, _, _) in enumerate(_samples(task)):
        row: dict[str, object] = {options.frame_column: at, **dict(zip(names, _flags(task, position), strict=True))}
        rows += [row] * options.step  # the reader takes every step-th row
    frames[0].save(folder / "test01.gif", save_all=True, append_images=frames[1:], duration=40)
    _write_csv(folder / options.labels.replace("{}", "test01"), rows)


def _write_csv(path: Path, rows: list[dict[str, object]] | list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _encoded(picture: Pixels, kind: str) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, kind)
    return sink.getvalue()
