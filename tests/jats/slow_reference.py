"""A slow, plain second implementation of what must never be lost, on the standard library alone.

It knows no groups, kinds or languages: only `<fig>` elements, their captions, graphics, and what refers to their ids.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

MATHML = "{http://www.w3.org/1998/Math/MathML}"
HREF = "{http://www.w3.org/1999/xlink}href"
DROPPED = {"object-id", "supplementary-material", "fig", "tex-math", f"{MATHML}annotation", f"{MATHML}annotation-xml"}
NO_PICTURE = {"caption", "inline-formula", "disp-formula"}
SPACED = {"p", "title", "list-item", "break", "sec"}


@dataclass
class Fig:
    id: str | None
    caption: str = ""
    hrefs: list[str] = field(default_factory=list)
    mentions: list[int | None] = field(default_factory=list)
    caption_mentions: list[int | None] = field(default_factory=list)


def letters(text: str) -> str:
    """What is compared: letters and digits only, so that spaces in formulas do not matter."""
    return re.sub(r"[\W_]+", "", text).lower()


def figs_of(xml: bytes) -> list[Fig]:
    root = ElementTree.fromstring(xml)
    if root.tag != "article":
        root = next(root.iter("article"))
    parents = {child: parent for parent in root.iter() for child in parent}
    index = {p: i for i, p in enumerate(root.iter("p"))}
    elements = list(root.iter("fig"))
    figs = {element: Fig(element.get("id")) for element in elements}
    for element in elements:
        figs[element].caption = " ".join(" ".join(_text(c) for c in element.findall("caption")).split())
    for graphic in root.iter():
        if graphic.tag in {"graphic", "media"}:
            line = _ancestors(graphic, parents)
            owner = next((a for a in line if a.tag in {"fig", "supplementary-material"}), None)
            inner = {a.tag for a in line[: line.index(owner)]} if owner is not None else set()
            if owner is not None and owner.tag == "fig" and graphic.get(HREF) and not inner & NO_PICTURE:
                figs[owner].hrefs.append(graphic.get(HREF, "").strip())
    for xref in root.iter("xref"):
        rids = (xref.get("rid") or "").split()
        line = _ancestors(xref, parents)
        place = next((index[a] for a in line if a.tag == "p"), None)
        for fig in figs.values():
            if fig.id and fig.id in rids:
                in_caption = any(a.tag == "caption" for a in line)
                (fig.caption_mentions if in_caption else fig.mentions).append(place)
    return list(figs.values())


def _ancestors(element, parents):
    line = []
    while element in parents:
        element = parents[element]
        line.append(element)
    return line


def _text(element) -> str:
    text = element.text or ""
    for child in element:
        if child.tag not in DROPPED:
            text += _text(child)
        text += (" " if child.tag in SPACED else "") + (child.tail or "")
    return text
