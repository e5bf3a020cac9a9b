"""Panels as people correct them: boxes and letters of a figure, in CSV files like votes, one per person.

A row is a box; the rows of one person, time and image are one correction. The latest one of an image counts, whoever
made it, and it counts before what was detected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from biomedica_kedro.images.boxes import Box, LetteredBox, in_reading_order
from biomedica_kedro.labels.ballots import BallotError, append_lines, read_lines
from biomedica_kedro.records import to_table

COLUMNS = ("expert", "time", "key", "left", "top", "right", "bottom", "letter")
PANEL_CORRECTIONS = pa.schema(
    [(name, pa.int32() if name in ("left", "top", "right", "bottom") else pa.string()) for name in COLUMNS]
)


def append_correction(folder: Path, expert: str, key: str, panels: Sequence[LetteredBox], time: datetime) -> Path:
    """Add one person's panels of an image to the person's file.

    Args:
        folder: where the files lie; made when absent.
        expert: any name; the file is named after its letters and digits.
        key: of the image.
        panels: all that the image has, in pixels of the original; a single one says that it is not compound.
        time: when this was said, with its zone.
    Returns:
        The file. Writers take turns; a correction is written whole or not at all.
    Raises:
        BallotError: when the name or the panels are missing, or a box holds no pixel.
    """
    if not panels:
        raise BallotError(f"image {key}: no panel is left; an image that is not compound has one, the whole of it")
    said = expert.strip(), time.isoformat(timespec="microseconds"), key
    rows = []
    for number, (box, letter) in enumerate(panels, start=1):
        _check(box, f"image {key}, panel {number}")
        rows.append((*said, box.left, box.top, box.right, box.bottom, letter.strip()))
    return append_lines(folder, expert, COLUMNS, rows)


def read_corrections(paths: Iterable[Path]) -> pa.Table:
    """Rows of the latest correction of every image, sorted by image.

    Args:
        paths: CSV files as `append_correction` or a spreadsheet writes them.
    Raises:
        BallotError: naming the file, the line and what is wrong.
    """
    latest: dict[str, list[dict[str, object]]] = {}
    for path in sorted(paths, key=lambda path: path.name):
        for line, row in read_lines(path, COLUMNS):
            read = _row(row, f"corrections file {path.name}, line {line}")
            said = latest.setdefault(str(read["key"]), [])
            if said and _moment(said[0]) > _moment(read):
                continue
            if said and _moment(said[0]) < _moment(read):
                said.clear()
            said.append(read)
    return to_table([row for key in sorted(latest) for row in latest[key]], PANEL_CORRECTIONS)


def panels_of(rows: Sequence[Mapping[str, object]]) -> list[LetteredBox]:
    """The panels of one correction in reading order."""
    letters = {
        Box(*(int(str(row[name])) for name in ("top", "left", "bottom", "right"))): row["letter"] for row in rows
    }
    return [(box, str(letters[box] or "")) for box in in_reading_order(list(letters))]


def check_within(panels: Sequence[LetteredBox], width: int, height: int) -> None:
    """Do nothing when all boxes end within an image of so many pixels.

    Raises:
        BallotError: naming the first that does not.
    """
    for number, (box, _) in enumerate(panels, start=1):
        if box.right > width or box.bottom > height:
            end = f"({box.right}, {box.bottom})"
            raise BallotError(f"panel {number} ends at {end}, the image at ({width}, {height}): make it smaller")


def _moment(row: Mapping[str, object]) -> tuple[datetime, str]:
    """When and by whom a row was said: rows of one correction have it in common."""
    return datetime.fromisoformat(str(row["time"])), str(row["expert"])


def _row(row: Mapping[str, str | None], place: str) -> dict[str, object]:
    try:
        sides = {name: int(row[name] or "") for name in ("left", "top", "right", "bottom")}
        if datetime.fromisoformat(row["time"] or "").tzinfo is None:
            raise ValueError(f"the time {row['time']!r} has no zone")
    except ValueError as error:
        raise BallotError(
            f"{place}: sides must be whole pixels, the time as 2026-01-31T12:00:00+00:00: {error}"
        ) from error
    if not (row["expert"] and row["key"]):
        raise BallotError(f"{place}: expert and key must be given")
    _check(Box(sides["top"], sides["left"], sides["bottom"], sides["right"]), place)
    return {"expert": row["expert"], "time": row["time"], "key": row["key"], **sides, "letter": row["letter"] or ""}


def _check(box: Box, place: str) -> None:
    if box.left < 0 or box.top < 0 or box.width < 1 or box.height < 1:
        raise BallotError(
            f"{place}: the box from ({box.left}, {box.top}) to ({box.right}, {box.bottom}) holds no pixel of the "
            "image; right must lie beyond left, and bottom below top"
        )
