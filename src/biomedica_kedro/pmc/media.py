"""Which media of an article are worth fetching, and whether fetched bytes are what their name says.

Most bytes of an article are supplements and thumbnails. The scan here only has to be cheap and to miss nothing that a
figure or a table cites; the exact match of graphic and file belongs to the extraction.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from biomedica_kedro.pmc.file_index import FileIndex
from biomedica_kedro.pmc.file_names import extension_of, file_name_of, full_size_stem, is_thumbnail
from biomedica_kedro.pmc.source import IMAGE_SUFFIXES
from biomedica_kedro.records import DataError, RejectReason

# One pass, and `[^<>]` keeps it linear on hostile text: start and end of formulas, and what graphics point to.
_TAG = re.compile(
    rb"<(?P<end>/?)(?:disp|inline)-formula\b[^<>]*?(?P<empty>/?)>"
    rb"|<(?:[\w.-]+:)?(?:graphic|media)\b[^<>]*?\bhref\s*=\s*(?P<quote>[\"'])(?P<href>[^<>]*?)(?P=quote)"
)
_MAGIC = re.compile(
    rb"BM|\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II[*+]\x00|MM\x00[*+]|RIFF....WEBP"
    rb"|\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|....ftypavi[fs]", re.DOTALL,
)  # fmt: skip
_PAGE = re.compile(
    rb"(?:\s|(?><!--.*?-->)|(?><\?.*?\?>))*+<(?:!doctype\s+html|html|rss|feed|error)\b", re.IGNORECASE | re.DOTALL
)


def cited_images(xml: bytes, names: Sequence[str]) -> list[str]:
    """Images among an article's media that a graphic outside of a formula cites.

    A graphic names its file with or without extension, in any case, with a folder or a URL before it. When a stem has
    several renditions, thumbnails and the GIF beside a better format are left out; where a name only ends like others,
    all of them are taken, so that what is ambiguous stays so.

    Args:
        xml: the article, as published.
        names: file names of the article's media.
    Returns:
        The file names, sorted.
    """
    index = FileIndex({name: 0 for name in names if name.lower().endswith(IMAGE_SUFFIXES)})
    wanted = {file_name_of(href) for href in _hrefs(xml)}
    rest = {file for name in wanted for file in index.same(name)}
    for is_poor in (is_thumbnail, lambda name: extension_of(name) == "gif"):
        better = {full_size_stem(name) for name in rest if not is_poor(name)}
        rest = {name for name in rest if not (is_poor(name) and full_size_stem(name) in better)}
    return sorted(rest.union(*(index.alike(name) for name in wanted if not index.same(name))))


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
    """Refuse bytes that do not begin like an image we decode, whatever the file's name says.

    Raises:
        DataError: NOT_AN_IMAGE.
    """
    if not _MAGIC.match(content):
        expected = "expected a JPEG, PNG, GIF, TIFF, WebP, JPEG 2000, AVIF or BMP"
        raise DataError(RejectReason.NOT_AN_IMAGE, f"{expected}, got {content[:16]!r}")


def _hrefs(xml: bytes) -> Iterable[str]:
    if xml.startswith((b"\xff\xfe", b"\xfe\xff")):
        xml = xml.decode("utf-16", "replace").encode()
    depth = 0
    for tag in _TAG.finditer(xml):
        if tag["href"] is None:
            depth = max(0, depth - 1) if tag["end"] else depth + (not tag["empty"])
        elif depth == 0:
            yield html.unescape(tag["href"].decode("utf-8", "replace"))
