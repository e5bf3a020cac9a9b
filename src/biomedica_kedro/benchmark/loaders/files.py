"""Image files beside their labels: a folder a class, a CSV or XLSX table, a CSV beside DICOM files or videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence

from biomedica_kedro.benchmark.loaders.options import DicomOptions, FolderOptions, TableOptions, VideoOptions
from biomedica_kedro.benchmark.loaders.rows import (
    IMAGE_SUFFIXES,
    LoaderError,
    Row,
    RowOrReject,
    existing,
    group_in,
    png_of,
    reject,
    sample,
    visible,
)
from biomedica_kedro.benchmark.loaders.tables import read_table_file
from biomedica_kedro.images.decode import OPENED, as_rgb
from biomedica_kedro.records import DataError, Reject, RejectReason

ANIMATION_SUFFIXES = {".gif", ".webp", ".tif", ".tiff"}
VIDEO_SUFFIXES = ANIMATION_SUFFIXES | {".mp4", ".avi", ".mkv", ".mov", ".webm"}


def read_folders(folder: Path, options: FolderOptions, classes: Sequence[str]) -> Iterator[RowOrReject]:
    """Images of each class's folder, in order of path; folders beside them that are no class are told.

    Raises:
        LoaderError: when a class has no folder.
    """
    named = {existing(folder, name): label for name, label in (options.folders or {n: n for n in classes}).items()}
    yield from _no_classes(folder, options, set(named))
    for place, label in named.items():
        paths, hidden = visible(place, options.files)
        yield from hidden
        for path in paths:
            if path.suffix.lower() in IMAGE_SUFFIXES:
                group = group_in(path, options.group_pattern)
                yield sample(path.relative_to(folder).as_posix(), path.read_bytes(), label_name=label, group_id=group)


def _no_classes(folder: Path, options: FolderOptions, named: set[Path]) -> Iterator[Reject]:
    """Folders with images beside those of the classes."""
    for parent in sorted({place.parent for place in named}):
        for other in sorted(entry for entry in parent.iterdir() if entry.is_dir() and entry not in named):
            images = [path for path in other.glob(options.files) if path.suffix.lower() in IMAGE_SUFFIXES]
            if images and not any(place.is_relative_to(other) for place in named):
                detail = f"{len(images)} images in a folder that is none of the task's classes"
                yield reject(other.relative_to(folder).as_posix(), RejectReason.NOT_A_CLASS, detail)


def read_table(
    folder: Path, options: TableOptions, classes: Sequence[str], *, is_multilabel: bool = False
) -> Iterator[RowOrReject]:
    """Rows of the table, or of each table where a glob names several, whose image exists.

    Images without a row are reported when a pattern names their folder.

    Raises:
        LoaderError: when the table or a column is missing.
    """
    if "*" not in options.file:
        path = existing(folder, options.file)
        yield from _rows_of_table(folder, path.parent, path, options, classes if is_multilabel else ())
        return
    paths, hidden = visible(folder, options.file)
    if not paths:  # archives are often unpacked into a folder of their own
        paths, hidden = visible(folder, f"*/{options.file}")
    if not paths:
        raise LoaderError(f"{folder} holds no table {options.file!r}")
    yield from hidden
    for path in paths:
        yield from _rows_of_table(folder, path.parent, path, options, classes if is_multilabel else ())


def _rows_of_table(
    folder: Path, root: Path, path: Path, options: TableOptions, findings: Sequence[str]
) -> Iterator[RowOrReject]:
    optional = filter(None, [options.image_column, options.caption_column, options.group_column])
    table = read_table_file(path, [*options.label_columns, *options.where, *optional], options.sheet)
    for column, value in options.where.items():
        table = table[table[column] == value]
    rows = [{str(name): str(value) for name, value in record.items()} for record in table.to_dict("records")]
    named: set[Path] = set()
    for name, row in _named(root, path, options, rows):
        image = _find_image(root, options, name)
        if image is None:
            yield reject(name, RejectReason.MISSING_FILE, f"{options.image_name(name)} does not exist in {root}")
            continue
        named.add(image)
        group = row[options.group_column] if options.group_column else group_in(image, options.group_pattern)
        try:
            answer = _answer(row, options, findings)
        except DataError as error:
            yield reject(name, error.reason, error.detail)
            continue
        yield sample(image.relative_to(folder).as_posix(), image.read_bytes(), group_id=group, **answer)
    if options.image_column:
        yield from _without_row(path, named)


def _named(
    root: Path, path: Path, options: TableOptions, rows: list[dict[str, str]]
) -> list[tuple[str, dict[str, str]]]:
    """Each row with the cell that names its image: of the image column, or of the one column whose cells all do.

    Where no column names images, the rows are those of the images in order of name.

    Raises:
        LoaderError: when there are not as many rows as images.
    """
    if options.image_column:
        return [(row[options.image_column], row) for row in rows]
    others = [name for name in (rows[0] if rows else {}) if name not in options.label_columns]
    for name in others:
        if all(row[name] and _find_image(root, options, row[name]) for row in rows):
            return [(row[name], row) for row in rows]
    images = [image.name for image in visible(root, options.image_pattern.replace("{}", "*"))[0]]
    if len(images) != len(rows):
        raise LoaderError(f"{path} has {len(rows)} rows for {len(images)} images, and no column that names them")
    pattern = options.image_pattern.partition("{}")
    return [(name[len(pattern[0]) : len(name) - len(pattern[2])], row) for name, row in zip(images, rows, strict=True)]


def _without_row(path: Path, named: set[Path]) -> Iterator[Reject]:
    for extra in sorted({image for parent in {path.parent for path in named} for image in parent.iterdir()} - named):
        if extra.suffix.lower() in IMAGE_SUFFIXES:
            yield reject(extra.name, RejectReason.INVALID_TASK_ROW, f"no row of {path.name} names this image")


def read_dicom(folder: Path, options: DicomOptions) -> Iterator[RowOrReject]:
    """One row an image; where a table has several rows for an image (boxes), the largest label wins.

    Raises:
        LoaderError: when the table or a column is missing.
    """
    path = existing(folder, options.file)
    table = read_table_file(path, [options.image_column, options.label_column])
    labels = table.groupby(options.image_column, sort=True)[options.label_column].max()
    for image_id, label in labels.items():
        image = folder / options.image_pattern.replace("{}", str(image_id))
        if not image.is_file():
            yield reject(str(image_id), RejectReason.MISSING_FILE, f"{image} does not exist")
            continue
        try:
            content = _dicom_as_png(image)
        except DataError as error:
            yield reject(str(image_id), error.reason, error.detail)
            continue
        yield sample(str(image_id), content, label_name=options.label_map.get(str(label), str(label)))


def read_videos(folder: Path, options: VideoOptions, classes: Sequence[str]) -> Iterator[RowOrReject]:
    """Every step-th labeled frame of each video; the video is the group.

    Raises:
        LoaderError: when there is no video, or a video has no table.
    """
    videos = sorted(path for path in folder.glob(options.videos) if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise LoaderError(f"{folder} holds no video {options.videos!r} of {', '.join(sorted(VIDEO_SUFFIXES))}")
    columns = options.label_columns or tuple(classes)
    for video in videos:
        path = existing(folder, options.labels.replace("{}", video.stem))
        table = read_table_file(path, [options.frame_column, *columns])
        wanted = {int(row[options.frame_column]): row for row in table.to_dict("records")[:: options.step]}
        for at, frame in enumerate(_frames(video)):
            if at in wanted:
                labels = [int(float(wanted[at][name]) > 0) for name in columns]
                yield sample(f"{video.stem}-{at:06d}", png_of(frame), labels=labels, group_id=video.stem)


def _frames(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames of an animated image by Pillow, of a film by imageio.

    Raises:
        LoaderError: when a film is to be read and imageio is not installed.
    """
    if path.suffix.lower() in ANIMATION_SUFFIXES:
        with Image.open(path, formats=OPENED) as animation:
            for frame in ImageSequence.Iterator(animation):
                yield np.asarray(as_rgb(frame))
        return
    try:
        import imageio.v3 as imageio
    except ImportError as error:
        raise LoaderError(f"reading {path.name} needs imageio: pip install 'imageio[pyav]'") from error
    yield from imageio.imiter(path)


def _find_image(folder: Path, options: TableOptions, value: str) -> Path | None:
    """The image a cell names; the leading folders of the cell may be absent in the copy at hand."""
    named = Path(options.image_name(value))
    for skipped in range(len(named.parts)):
        candidate = folder.joinpath(*named.parts[skipped:])
        if candidate.is_file() and candidate.resolve().is_relative_to(folder.resolve()):
            return candidate
    return None


def _answer(row: Mapping[str, str], options: TableOptions, findings: Sequence[str]) -> Row:
    """Answer of one row: a caption, a name, the one column that is set, or all columns of a multilabel table."""
    if options.caption_column:
        return {"caption": row[options.caption_column]}
    if len(options.label_columns) == 1:
        value = row[options.label_columns[0]]
        return {"label_name": options.label_map.get(value, value)}
    flags = [_flag(row[name]) for name in options.label_columns]
    names = [options.label_map.get(name, name) for name in options.label_columns]
    if not findings:
        if sum(flags) != 1:
            raise DataError(RejectReason.INVALID_TASK_ROW, f"{sum(flags)} of the one-hot columns are set, not one")
        return {"label_name": names[flags.index(1)]}
    by_name = dict(zip(names, flags, strict=True))
    return {"labels": [by_name[name] for name in findings]}


def _flag(cell: str) -> int:
    """1 for a positive cell; blank and uncertain (-1) ones are negative, as in CheXpert's own evaluation."""
    try:
        return int(bool(cell) and float(cell.replace(",", ".")) > 0)
    except ValueError as error:
        raise DataError(RejectReason.INVALID_TASK_ROW, f"label cell {cell!r} is not a number") from error


def _dicom_as_png(path: Path) -> bytes:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        file = pydicom.dcmread(path)
        pixels = file.pixel_array
    except (InvalidDicomError, AttributeError, ValueError, OSError, RuntimeError) as error:
        raise DataError(RejectReason.CORRUPT_IMAGE, f"{path.name}: {error}") from error
    if getattr(file, "PhotometricInterpretation", "") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return png_of(pixels)
