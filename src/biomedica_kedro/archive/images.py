"""Images of the archive to look at, and where their panels lie."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from biomedica_kedro.images.boxes import Box, LetteredBox
from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.records import DataError
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place

_OPEN_BATCHES = 16
_LINE, _LETTER = "#e66100", 18


class ArchiveImages:
    """Reads images and panels out of the batches of a data root."""

    def __init__(self, root: Place) -> None:
        self._archive = BatchFolder(root / "01_raw" / "article_archive")
        self._panels = BatchFolder(root / "04_feature" / "image_panels")
        self._reader = lru_cache(_OPEN_BATCHES)(lambda batch: ArchiveReader(self._archive, batch))
        self._panels_in = lru_cache(_OPEN_BATCHES)(self._panels_of)

    def image(self, batch: str, article_id: str, file_name: str, longest: int | None = None) -> Image.Image | None:
        """An image as RGB, at most so many pixels long; None when it is not there or cannot be decoded."""
        try:
            image = as_rgb(open_image(self._reader(batch).read(article_id, file_name)))
        except (DataError, OSError):
            return None
        if longest is not None:
            image.thumbnail((longest, longest), Image.Resampling.BICUBIC)
        return image

    def panels(self, batch: str, key: str) -> list[LetteredBox]:
        """Panels of an image in pixels, with their letters; empty where there is one, or none were looked for."""
        found: list[LetteredBox] = self._panels_in(batch).get(key, [])
        return found

    def with_panels(self, batch: str, article_id: str, file_name: str, key: str, longest: int) -> Image.Image | None:
        """An image with its panels outlined, at most so many pixels long."""
        image = self.image(batch, article_id, file_name)
        return None if image is None else outlined(image, self.panels(batch, key), longest)

    def _panels_of(self, batch: str) -> dict[str, list[LetteredBox]]:
        if batch not in self._panels.committed():
            return {}
        table = self._panels.table(batch, ["key", "is_multiple", "panels"])
        rows: list[dict[str, Any]] = table.filter(pc.field("is_multiple")).to_pylist()
        return {
            row["key"]: [
                (Box(box["top"], box["left"], box["bottom"], box["right"]), box["letter"] or "")
                for box in row["panels"] or ()
            ]
            for row in rows
        }


def outlined(image: Image.Image, panels: Sequence[LetteredBox], longest: int) -> Image.Image:
    """A copy of an image with panels outlined and named by letter or number, at most so many pixels long."""
    scale = min(1.0, longest / max(image.size))
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_LETTER)
    for number, (box, letter) in enumerate(panels, start=1):
        left, top = box.left * scale, box.top * scale
        right, bottom = max(left, box.right * scale - 1), max(top, box.bottom * scale - 1)
        draw.rectangle((left, top, right, bottom), outline=_LINE, width=3)
        place, name = (left + 5, top + 3), letter or str(number)
        draw.rectangle(draw.textbbox(place, name, font=font), fill="white")
        draw.text(place, name, fill=_LINE, font=font)
    return image
