"""Correcting the panels of a figure on the archive's page: a table of boxes and letters beside the picture.

What a person saves is appended to the person's file in `01_raw/panel_corrections`, and counts from the next `kedro run`
on (`labels.panel_corrections`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from biomedica_kedro.archive.images import ArchiveImages, outlined
from biomedica_kedro.images.boxes import Box, LetteredBox
from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.panel_corrections import append_correction, check_within, panels_of, read_corrections

HEADERS = ["x", "y", "width", "height", "letter"]
FOLDER = Path("01_raw") / "panel_corrections"
Cells = Sequence[Sequence[Any]]
_HOW = (
    "Boxes in pixels of the original: the left and upper edge, width and height. The ⋮ of a cell adds and removes "
    "rows; a figure that is not compound has a single box. The latest correction counts before what was detected, from "
    "the next `kedro run` on."
)


class Corrector:
    """The panels of one figure after the other, as they are in the table, and as they are saved."""

    def __init__(self, root: Path, images: ArchiveImages, longest: int) -> None:
        """Args: root: the data root; images: of that root; longest: side of a picture in pixels."""
        self._folder, self._images, self._longest = root / FOLDER, images, longest

    def cells(self, row: Mapping[str, Any]) -> tuple[list[list[Any]], str]:
        """Panels of an image, and which file of corrections cannot be read.

        They are those that people last drew, otherwise the detected ones; the whole image for one.
        """
        try:
            said, wrong = [said for said in self._corrections() if said["key"] == row["key"]], ""
        except BallotError as error:
            said, wrong = [], f"{error}. Mend it: corrections are not shown, and the next `kedro run` stops at it."
        panels = panels_of(said) if said else self._images.panels(row["batch"], row["key"])
        image = None if panels else self._images.image(row["batch"], row["article_id"], row["file_name"])
        panels = panels or ([(Box(0, 0, image.height, image.width), "")] if image else [])
        return [[box.left, box.top, box.width, box.height, letter] for box, letter in panels], wrong

    def picture(self, row: Mapping[str, Any], cells: Cells) -> tuple[Image.Image | None, str]:
        """The image with the boxes of the table, and which of its cells cannot be read."""
        image = self._images.image(row["batch"], row["article_id"], row["file_name"])
        try:
            panels, said = panels_in(cells), ""
        except BallotError as error:
            panels, said = [], f"{error}."
        return None if image is None else outlined(image, panels, self._longest), said

    def save(self, expert: str, row: Mapping[str, Any] | None, cells: Cells) -> str:
        """Append what the table holds to the person's file; says what became of it."""
        if row is None:
            return "Choose a figure first."
        image = self._images.image(row["batch"], row["article_id"], row["file_name"])
        try:
            panels = panels_in(cells)
            if image:
                check_within(panels, *image.size)
            path = append_correction(self._folder, expert or "", row["key"], panels, datetime.now(UTC))
        except BallotError as error:
            return f"Not saved: {error}."
        return f"Saved to {path.name}; it counts from the next `kedro run` on."

    def _corrections(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = read_corrections(self._folder.glob("*.csv")).to_pylist()
        return rows


def panels_in(cells: Cells) -> list[LetteredBox]:
    """Boxes and letters of a table; rows without any number are none.

    Raises:
        BallotError: naming the row in which a number is missing.
    """
    panels: list[LetteredBox] = []
    for number, (*sides, letter) in enumerate(cells, start=1):
        if not any(str(side if side is not None else "").strip() for side in sides):
            continue
        try:
            left, top, width, height = (round(float(side)) for side in sides)
        except (TypeError, ValueError) as error:
            raise BallotError(f"row {number}: x, y, width and height must be numbers, found {sides}") from error
        panels.append((Box(top, left, top + height, left + width), str(letter or "").strip()))
    return panels


def build(gr: Any, corrector: Corrector, picture: Any) -> tuple[Any, Any, Any]:
    """The widgets below the picture, wired to the corrector: the image that is shown, as a state; table and message."""
    shown = gr.State(None)
    with gr.Accordion("Correct the panels", open=False, elem_id="correct"):
        gr.Markdown(_HOW)
        table = gr.Dataframe(
            headers=HEADERS, datatype=["number"] * 4 + ["str"], type="array", row_count=1, column_count=len(HEADERS),
            interactive=True, show_label=False, elem_id="panel_table",
        )  # fmt: skip
        with gr.Row():
            expert = gr.Textbox(label="Your name", elem_id="corrector", placeholder="as it shall stand in the file")
            save = gr.Button("Save", elem_id="save_panels", variant="primary")
        status = gr.Markdown(elem_id="correct_status")

    def draw(row: Mapping[str, Any] | None, cells: Cells) -> tuple[Any, str]:
        return corrector.picture(row, cells) if row else (None, "")

    table.input(draw, [shown, table], [picture, status], show_progress="hidden")
    save.click(corrector.save, [expert, shown, table], status, show_progress="hidden")
    return shown, table, status
