"""What the readers share: the row type, their error, image bytes from arrays and files."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from biomedica_kedro.close_match import close_match
from biomedica_kedro.records import Reject, RejectReason

STAGE = "prepare"
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"}

Row: TypeAlias = Mapping[str, Any]
RowOrReject: TypeAlias = Row | Reject


class LoaderError(Exception):
    """The data as distributed cannot be read: says which file or column was expected and what is there."""


def existing(folder: Path, name: str) -> Path:
    """Path of a file or folder of the data set; archives are often unpacked into a folder of their own.

    Raises:
        LoaderError: naming what is there instead.
    """
    path = folder / name
    if path.exists():
        return path
    below = [inner for inner in sorted(folder.glob(f"*/{name}")) if inner.relative_to(folder).parts[0][0] != "."]
    if len(below) == 1:
        return below[0]
    there = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    raise LoaderError(f"{path} does not exist: {close_match(path.name, there)}")


def visible(folder: Path, pattern: str) -> tuple[list[Path], list[Reject]]:
    """Files below a folder that match a glob, sorted, without those in hidden folders.

    Returns:
        The files, and a reject for each hidden folder that was left out (`.ipynb_checkpoints` holds copies).
    """
    files: list[Path] = []
    hidden: Counter[str] = Counter()
    for path in sorted(folder.glob(pattern)):
        if path.is_file():
            parts = path.relative_to(folder).parts
            at = next((at for at, part in enumerate(parts) if part.startswith(".") or part == "__MACOSX"), None)
            if at is None:
                files.append(path)
            else:
                hidden["/".join(parts[: at + 1])] += 1
    told = [
        reject(place, RejectReason.NOT_A_CLASS, f"{number} files in {folder / place}: hidden, so not part of the data")
        for place, number in sorted(hidden.items())
        if not place.startswith(".cache")  # of the download clients: never anyone's data
    ]
    return files, told


def need_columns(path: Path, wanted: Iterable[str], there: Sequence[str]) -> None:
    """Check that a table has the columns a task file names.

    Raises:
        LoaderError: naming the missing column and its close match.
    """
    for name in wanted:
        if name not in there:
            raise LoaderError(f"{path} has no column {name!r}: {close_match(name, there)}")


def sample(sample_id: str, image: bytes, **columns: Any) -> Row:
    """A row with the image's hash."""
    return {"sample_id": sample_id, "image": image, "sha256": hashlib.sha256(image).hexdigest(), **columns}


def reject(source: str, reason: RejectReason, detail: str) -> Reject:
    """A row that cannot be used."""
    return Reject(source, STAGE, reason, detail)


def png_of(pixels: npt.NDArray[Any]) -> bytes:
    """Lossless bytes of an H x W or H x W x 3 array of 8 or 16 bits."""
    if pixels.dtype not in (np.uint8, np.uint16):
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (65535 / (high - low) if high > low else 0)).astype(np.uint16)
    sink = io.BytesIO()
    Image.fromarray(np.squeeze(pixels)).save(sink, "PNG")
    return sink.getvalue()


def group_in(path: Path, pattern: str) -> str:
    """Group found in a path by a regular expression; empty when there is no pattern or no match."""
    found = re.search(pattern, path.as_posix()) if pattern else None
    return found.group(1) if found else ""
