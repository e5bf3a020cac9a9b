"""The page of a run: sections of bars, tables, curves and pictures in one file of HTML that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from jinja2 import Template

_WIDEST, _HIGHEST = 1600, 16_000  # pixels of a picture
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Bar:
    """A number and how long its bar is.

    Attributes:
        name: what is counted.
        value: the number.
        told: the number as it is read; by default with separators of thousands.
        notes: small print beside it.
    """

    name: str
    value: float
    told: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page; a part without bars, rows and drawings says `otherwise`.

    Attributes:
        title: its heading.
        note: a line below the heading.
        bars: as long as their value is of the largest.
        headings: of the table.
        rows: of the table.
        curves: drawings as SVG, which is trusted.
        pictures: bytes of images, by what they show.
        otherwise: what is said where there is nothing to show.
    """

    title: str
    note: str = ""
    bars: Sequence[Bar] = ()
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    curves: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    otherwise: str = "This stage has not run."

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.bars or self.rows or self.curves or self.pictures)

    @property
    def largest(self) -> float:
        """Value of the longest bar."""
        return max((bar.value for bar in self.bars), default=0.0) or 1.0


def report_page(title: str, sections: Sequence[Section]) -> str:
    """The page as a string of HTML; every text is escaped, every picture inlined."""
    return _template().render(title=title, sections=sections, address_of=inlined)


def inlined(picture: bytes) -> str:
    """A picture as a `data:` address: a JPEG at most 1,600 pixels wide.

    Raises:
        OSError: when the bytes are no image.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((_WIDEST, _HIGHEST), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


@cache
def _template() -> Template:
    from jinja2 import Environment

    text = (resources.files("biomedica_kedro.report") / "report.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
