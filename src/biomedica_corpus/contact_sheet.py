"""Contact sheet: different examples of every class, to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from biomedica_corpus.canvas import font
from biomedica_corpus.classes import CLASSES
from biomedica_corpus.options import Stream, random_stream
from biomedica_corpus.panel import Panel

_SHEET = 2_000_000  # beyond the article numbers
_GAP, _TITLE, _COLUMNS = 4, 18, 2
_PAINTED_PIXELS = 256
_TRIES = 40


def save_contact_sheet(path: Path, seed: int) -> None:
    """Draw the sheet and save it as a small PNG of 256 colors."""
    sheet = draw_contact_sheet(seed)
    palette = sheet.quantize(256, method=Image.Quantize.FASTOCTREE)
    sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, "PNG", optimize=True)


def draw_contact_sheet(seed: int, *, examples: int = 5, cell: int = 96) -> Image.Image:
    """One row a class, two classes beside each other.

    Args:
        seed: seed of the corpus; the sheet's panels have streams of their own.
        examples: panels a class.
        cell: pixels of a panel's longer side.
    """
    rows = -(-len(CLASSES) // _COLUMNS)
    width, height = examples * (cell + _GAP) + 3 * _GAP, cell + _TITLE + 2 * _GAP
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, kind in enumerate(CLASSES):
        left, top = (number % _COLUMNS) * width + _GAP, (number // _COLUMNS) * height
        draw.text((left, top + 2), kind.kind.noun, fill="black", font=font(13))
        for position, panel in enumerate(_different_panels(kind, seed, number, examples)):
            rng = random_stream(seed, Stream.PIXELS, _SHEET, number, position)
            picture = panel.paint(rng, _PAINTED_PIXELS, round(_PAINTED_PIXELS / kind.kind.aspect))
            picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + position * (cell + _GAP), top + _TITLE))
    return sheet


def _different_panels(kind: type[Panel], seed: int, number: int, count: int) -> Iterator[Panel]:
    """`count` panels, of different subjects as long as there are any."""
    panels = [kind.sample(random_stream(seed, Stream.ATTRIBUTES, _SHEET, number, i)) for i in range(_TRIES)]
    first_of_subject = list({panel.subject: panel for panel in reversed(panels)}.values())
    yield from (first_of_subject + panels)[:count]
