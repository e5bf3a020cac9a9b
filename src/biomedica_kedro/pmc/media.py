"""Which media of an article are worth fetching, and whether fetched bytes are what their name says.

Most bytes of an article are supplements and thumbnails. The scan here only has to be cheap and to miss nothing that a
figure or a table cites; the exact match of graphic and file belongs to the extraction.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from biomedica_kedro.pmc.file_names import extension_of, file_name_of, full_size_stem, is_thumbnail, stem_of
from biomedica_kedro.pmc.source import IMAGE_SUFFIXES
from biomedica_kedro.records import DataError, RejectReason

# One pass, and `[^<>]` keeps it linear on hostile text: start and end of formulas, and what graphics point to.
_TAG = re.compile(
    rb"<(?P<end>/?)(?:disp|inline)-formula\b[^<>]*?(?P<empty>/?)>"
    rb"|<(?:[\w.-]+:)?(?:graphic|media)\b[^<>]*?\bhref\s*=\s*(?P<quote>[\"'])(?P<href>[^<>]*?)(?P=quote)"
)
_SEPARATOR = re.compile(r"[._-]")
_MAX_NAME = 255
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_PAGE = re.compile(rb"\s*(<!doctype\s+html|<html\b)", re.IGNORECASE)


def cited_images(xml: bytes, names: Sequence[str]) -> list[str]:
    """Images among an article's media that a graphic outside of a formula cites.

    A graphic names its file with or without extension, in any case, with a folder or a URL before it. When a stem has
    several renditions, thumbnails and the GIF beside a better format are left out.

    Args:
        xml: the article, as published.
        names: file names of the article's media.
    Returns:
        The file names, sorted.
    """
    by_stem: dict[str, list[str]] = {}
    for name in names:
        if name.lower().endswith(IMAGE_SUFFIXES):
            by_stem.setdefault(stem_of(name).lower(), []).append(name)
    by_ending: dict[str, list[str]] = {}
    for stem in by_stem:
        for ending in _endings(stem):
            by_ending.setdefault(ending, []).append(stem)
    asked = {file_name_of(href).lower() for href in _hrefs(xml)}
    stems = {name: _matching_stems(stem_of(name), by_stem, by_ending) for name in asked}
    full_size = {full_size_stem(name) for name in asked if stem_of(name) in by_stem and not is_thumbnail(name)}
    cited = {
        stem
        for name, matching in stems.items()
        for stem in matching
        if not (is_thumbnail(name) and full_size_stem(name) in full_size)
    }
    return sorted(name for stem in cited for name in _without_previews(by_stem[stem]))


def check_article(content: bytes) -> None:
    """Refuse what is clearly not an XML article, such as a web server's error page.

    Raises:
        DataError: NOT_AN_ARTICLE.
    """
    head = content[:512].removeprefix(b"\xef\xbb\xbf")
    is_wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not is_wide and (not head.lstrip().startswith(b"<") or _PAGE.match(head)):
        raise DataError(RejectReason.NOT_AN_ARTICLE, f"expected XML, got {head[:60]!r}")


def check_image(content: bytes) -> None:
    """Refuse bytes that do not begin like a JPEG, PNG, GIF or TIFF, whatever the file's name says.

    Raises:
        DataError: NOT_AN_IMAGE.
    """
    if not content.startswith(_MAGIC):
        raise DataError(RejectReason.NOT_AN_IMAGE, f"expected a JPEG, PNG, GIF or TIFF, got {content[:16]!r}")


def _hrefs(xml: bytes) -> Iterable[str]:
    if xml.startswith((b"\xff\xfe", b"\xfe\xff")):
        xml = xml.decode("utf-16", "replace").encode()
    depth = 0
    for tag in _TAG.finditer(xml):
        if tag["href"] is None:
            depth = max(0, depth - 1) if tag["end"] else depth + (not tag["empty"])
        elif depth == 0:
            yield html.unescape(tag["href"].decode("utf-8", "replace"))


def _matching_stems(wanted: str, stems: Collection[str], by_ending: Mapping[str, list[str]]) -> list[str]:
    """The stem asked for; failing that, stems of which one ends in the other: "pone.0091296.g001" and "g001"."""
    if wanted in stems:
        return [wanted]
    return [*by_ending.get(wanted, ()), *(ending for ending in _endings(wanted) if ending in stems)]


def _endings(stem: str) -> list[str]:
    """What follows each separator of a stem: "a-b.c" -> "b.c", "c"."""
    return [stem[place.end() :] for place in _SEPARATOR.finditer(stem[:_MAX_NAME]) if place.end() < len(stem)]


def _without_previews(renditions: list[str]) -> list[str]:
    better = [name for name in renditions if extension_of(name) != "gif"]
    return better or renditions
