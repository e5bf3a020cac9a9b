"""One walk over an article: the elements the rest of the package works on, in document order.

Everything after it looks elements up in the lists gathered here; nobody searches the tree again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from biomedica_kedro.jats.places import Places
from biomedica_kedro.jats.text import APART_FROM_PARAGRAPH, TEX, plain_text, text_of

_SPACED = {"break", "list-item", "disp-formula", "boxed-text"}
_IN_PARAGRAPHS = {*APART_FROM_PARAGRAPH, *_SPACED, TEX}
# Parents of most paragraphs that stand in no other paragraph.
_NEVER_IN_PARAGRAPHS = {"sec", "body", "abstract", "app", "ack"}
# What stands in these needs no mark of its own: they leave theirs on the paragraph around them.
_MARKED = {"fig", "fig-group", "table-wrap", "supplementary-material", "list-item", "boxed-text"}
_SETTLED = _NEVER_IN_PARAGRAPHS | _MARKED
_GRAPHICS = {"graphic", "inline-graphic", "media"}
_WANTED = (*sorted(_IN_PARAGRAPHS | _GRAPHICS), "xref", "ref", "pub-id", "ext-link")


@dataclass(slots=True)
class Scan:
    """Elements of an article by what they are good for.

    Attributes:
        paragraphs: every `<p>`, with its index.
        carriers: every `<fig>`, and every other element that stands for a figure because a graphic lies in it, with its
            graphics.
        groups: every `<fig-group>`.
        refs: every `<ref>`, with the `<pub-id>` and `<ext-link>` elements that follow it in the file.
    """

    root: etree._Element
    places: Places
    paragraphs: dict[etree._Element, int] = field(default_factory=dict)
    carriers: dict[etree._Element, list[etree._Element]] = field(default_factory=dict)
    groups: list[etree._Element] = field(default_factory=list)
    xrefs: list[etree._Element] = field(default_factory=list)
    refs: list[tuple[etree._Element, list[etree._Element]]] = field(default_factory=list)
    _mixed: set[etree._Element] = field(default_factory=set)
    _texts: dict[etree._Element, str] = field(default_factory=dict)

    def is_running_text(self, paragraph: etree._Element) -> bool:
        """Whether nothing in a `<p>` is left out of its text or set apart in it."""
        return paragraph not in self._mixed

    def paragraph_text(self, paragraph: etree._Element) -> str:
        """Text of a `<p>` without what is told elsewhere: nested paragraphs, figures, tables, supplements."""
        text = self._texts.get(paragraph)
        if text is None:
            is_mixed = paragraph in self._mixed
            text = text_of(paragraph, APART_FROM_PARAGRAPH) if is_mixed else plain_text(paragraph)
            self._texts[paragraph] = text
        return text


def scan_article(root: etree._Element) -> Scan:
    """Gather the elements of an article in one pass."""
    scan = Scan(root, Places(root))
    identifiers: list[etree._Element] = []
    for element in root.iter(*_WANTED):
        tag = element.tag
        if tag == "xref":
            scan.xrefs.append(element)
        elif tag == "ref":
            identifiers = []
            scan.refs.append((element, identifiers))
        elif tag in {"pub-id", "ext-link"}:
            identifiers.append(element)
        elif tag == "p":
            scan.paragraphs[element] = len(scan.paragraphs)
            _mark_mixed(element, scan)
        elif tag in _GRAPHICS:
            _assign_graphic(element, scan)
        else:
            if tag == "fig":
                scan.carriers[element] = []
            elif tag == "fig-group":
                scan.groups.append(element)
            _mark_mixed(element, scan)
    return scan


def _mark_mixed(element: etree._Element, scan: Scan) -> None:
    """Remember that the paragraph around an element holds more than running text."""
    parent = element.getparent()
    if parent is None or parent.tag in _SETTLED:
        return
    if parent.tag == "caption" and (outer := parent.getparent()) is not None and outer.tag in _MARKED:
        return
    paragraph = next(element.iterancestors("p"), None)
    if paragraph is not None:
        scan._mixed.add(paragraph)


_FORMULAS = {"disp-formula", "inline-formula", "chem-struct", "chem-struct-wrap", "disp-formula-group"}
_GRAPHIC_CARRIERS = _FORMULAS | {"table-wrap", "fig-group", "abstract", "trans-abstract", "array"}


def _assign_graphic(element: etree._Element, scan: Scan) -> None:
    place = scan.places.of(element)
    if place.is_supplement:
        return
    if place.figure is not None:
        if element.tag != "inline-graphic":
            scan.carriers[place.figure].append(element)
        return
    carrier = _carrier_of(element)
    is_document = element.tag == "media" and (element.get("mimetype") != "video" and carrier is element)
    if not is_document:
        scan.carriers.setdefault(carrier, []).append(element)


def _carrier_of(graphic: etree._Element) -> etree._Element:
    """The element that stands for a graphic outside of figures: its formula, table, group or abstract, else itself."""
    is_inline = graphic.tag == "inline-graphic"
    for ancestor in graphic.iterancestors():
        if ancestor.tag in _FORMULAS:
            return ancestor
        if ancestor.tag in _GRAPHIC_CARRIERS and not (is_inline and not _is_graphical(ancestor)):
            return ancestor
        if ancestor.tag in {"body", "back", "front", "article"}:
            break
    return graphic


def _is_graphical(element: etree._Element) -> bool:
    return "graphical" in (element.get("abstract-type") or "").lower()
