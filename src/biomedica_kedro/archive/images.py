"""Images of the archive to look at, and where their panels lie."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.records import DataError
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place

_OPEN_BATCHES = 16
_LINE, _LETTER = "#e66100", 18
Box = tuple[tuple[int, int, int, int], str]


class ArchiveImages:
    """Reads images and panels out of the batches of a data root."""

    def __init__(self, root: Place) -> None:
        self._archive = BatchFolder(root / "01_raw" / "article_archive")
        self._panels = BatchFolder(root / "04_feature" / "image_panels")
        self._reader = lru_cache(_OPEN_BATCHES)(lambda batch: ArchiveReader(self._archive, batch))
        self._boxes = lru_cache(_OPEN_BATCHES)(self._boxes_of)

    def image(self, batch: str, article_id: str, file_name: str, longest: int | None = None) -> Image.Image | None:
        """An image as RGB, at most so many pixels long; None when it is not there or cannot be decoded."""
        try:
            image = as_rgb(open_image(self._reader(batch).read(article_id, file_name)))
        except (DataError, OSError):
            return None
        if longest is not None:
            image.thumbnail((longest, longest), Image.Resampling.BICUBIC)
        return image

    def boxes(self, batch: str, key: str) -> list[Box]:
        """Panels of an image: ((left, top, right, bottom) in pixels, letter); empty where none were looked for."""
        found: list[Box] = self._boxes(batch).get(key, [])
        return found

    def with_panels(self, batch: str, article_id: str, file_name: str, key: str, longest: int) -> Image.Image | None:
        """An image with its panels outlined, at most so many pixels long."""
        image = self.image(batch, article_id, file_name)
        if image is None:
            return None
        scale = min(1.0, longest / max(image.size))
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        draw = ImageDraw.Draw(image)
        font = ImageFont.load_default(_LETTER)
        for (left, top, right, bottom), letter in self.boxes(batch, key):
            draw.rectangle((left * scale, top * scale, right * scale - 1, bottom * scale - 1), outline=_LINE, width=3)
            place = (left * scale + 5, top * scale + 3)
            draw.rectangle(draw.textbbox(place, letter, font=font), fill="white")
            draw.text(place, letter, fill=_LINE, font=font)
        return image

    def _boxes_of(self, batch: str) -> dict[str, list[Box]]:
        if batch not in self._panels.committed():
            return {}
        table = self._panels.table(batch, ["key", "is_multiple", "panels"])
        rows: list[dict[str, Any]] = table.filter(pc.field("is_multiple")).to_pylist()
        return {
            row["key"]: [
                ((box["left"], box["top"], box["right"], box["bottom"]), box["letter"] or str(n))
                for n, box in enumerate(row["panels"] or (), start=1)
            ]
            for row in rows
        }
