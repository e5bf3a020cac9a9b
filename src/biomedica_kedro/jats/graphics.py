"""The image files a figure names, and which of them are renditions of one image rather than panels of the figure.

JATS does not say which two graphics show the same image unless they stand in `<alternatives>`; publishers also give a
jpg beside a gif of the same stem, or a thumbnail after the image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lxml import etree

from biomedica_kedro.jats.model import Graphic
from biomedica_kedro.jats.tags import XLINK_HREF
from biomedica_kedro.pmc.file_names import FILM_EXTENSIONS, extension_of, file_name_of, full_size_stem, is_thumbnail

THUMBNAIL = "thumbnail"
MEDIA = "media"

_THUMBNAIL_KIND = re.compile(r"thumb|preview|scielo-\d+x\d+", re.IGNORECASE)
_HREF = re.compile(r"(?:^|[:}])href$")


def read_graphics(elements: Sequence[etree._Element]) -> list[Graphic]:
    """Graphics of one figure; parts are numbered from 0 in document order.

    Args:
        elements: the figure's `<graphic>` and `<media>` elements, in document order.
    """
    if len(elements) == 1:
        href = href_of(elements[0])
        name = file_name_of(href)
        return [Graphic(href, name, _rendition(elements[0], name), 0)] if href else []
    graphics: list[Graphic] = []
    part_of: dict[object, int] = {}
    n_parts = 0
    for element in elements:
        href = href_of(element)
        if not href:
            continue
        name = file_name_of(href)
        rendition = _rendition(element, name)
        keys: list[object] = [full_size_stem(name).lower()]
        parent = element.getparent()
        if parent is not None and parent.tag == "alternatives":
            keys.append(parent)
        part = next((part_of[key] for key in keys if key in part_of), None)
        if part is None and rendition == THUMBNAIL and n_parts:
            part = n_parts - 1
        if part is None:
            part, n_parts = n_parts, n_parts + 1
        part_of.update((key, part) for key in keys if key not in part_of)
        graphics.append(Graphic(href, name, rendition, part))
    return graphics


def href_of(element: etree._Element) -> str:
    """The href of a graphic, whatever its prefix is bound to; empty when it has none."""
    href = element.get(XLINK_HREF)
    if href is None:
        href = next((str(value) for name, value in element.attrib.items() if _HREF.search(str(name))), "")
    return href.strip()


def is_film(graphic: Graphic) -> bool:
    """Whether a graphic is not a still image."""
    extension = extension_of(graphic.file_name)
    return extension in FILM_EXTENSIONS or (not extension and graphic.rendition == MEDIA)


def _rendition(element: etree._Element, name: str) -> str:
    kind, use = element.get("content-type"), element.get("specific-use")
    if use:
        kind = f"{kind} {use}" if kind else use
    if (kind and _THUMBNAIL_KIND.search(kind)) or is_thumbnail(name):
        return THUMBNAIL
    if element.tag == "media" and element.get("mimetype", "video") != "image":
        return MEDIA
    return kind or "image"
