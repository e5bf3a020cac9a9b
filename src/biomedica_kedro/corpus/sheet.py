"""Contact sheet: a few examples of every class with what their captions say, to look at."""

from __future__ import annotations

from PIL import Image, ImageDraw

from biomedica_kedro.corpus.canvas import font
from biomedica_kedro.corpus.classes import CLASSES
from biomedica_kedro.corpus.options import Stream, random_stream

_SHEET = 2_000_000  # beyond the article numbers


def draw_contact_sheet(seed: int, *, examples: int = 6, cell: int = 160) -> Image.Image:
    """One row a class, two classes beside each other.

    Args:
        seed: seed of the corpus; the sheet's panels have a stream of their own.
        examples: panels a class.
        cell: pixels of a panel's longer side.
    """
    columns, caption = 2, 18
    rows = -(-len(CLASSES) // columns)
    width, height = examples * (cell + 4) + 12, cell + caption + 8
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, kind in enumerate(CLASSES):
        left, top = (number % columns) * width + 4, (number // columns) * height
        draw.text((left, top + 2), f"{kind.kind.id}: {kind.kind.noun}", fill="black", font=font(13))
        for example in range(examples):
            panel = kind.sample(random_stream(seed, Stream.ATTRIBUTES, _SHEET, number, example))
            rng = random_stream(seed, Stream.PIXELS, _SHEET, number, example)
            picture = panel.paint(rng, 256, round(256 / kind.kind.aspect))
            picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + example * (cell + 4), top + caption))
    return sheet
