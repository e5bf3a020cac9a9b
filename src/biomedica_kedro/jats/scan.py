"""The elements of an article by what they are good for; everything after it looks elements up here.

Nobody searches the tree again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from biomedica_kedro.jats.places import Places
from biomedica_kedro.jats.tree import Walk


@dataclass(slots=True)
class Carrier:
    """What stands for a figure: its scope (see `Walk`), its graphics, and those inside its caption.

    What stands in a caption is a symbol of the legend or a link to a film, unless the figure has no other graphic.
    """

    scope: int
    graphics: list[etree._Element] = field(default_factory=list)
    in_caption: list[etree._Element] = field(default_factory=list)


class Scan:
    """What one walk over an article found.

    Attributes:
        walk: the walk, which knows cross references and cited works.
        places: where in the article an element stands, by its scope.
        paragraphs: index, scope and text of each `<p>` of the text (not of abstracts, figures, tables, notes), and
            how often it says "fig".
        carriers: every `<fig>`, and every other element that stands for a figure because a graphic lies in it.
        groups: scope of each `<fig-group>`.
    """

    def __init__(self, root: etree._Element) -> None:
        self.walk = Walk(root)
        self.places = Places(self.walk)
        self.paragraphs = [told for told in self.walk.text_paragraphs if self.places[told[1]].is_text]
        self.carriers: dict[etree._Element, Carrier] = {}
        self.groups: dict[etree._Element, int] = {}
        self._texts = {told[0]: told[2] for told in self.paragraphs}
        for element, scope in self.walk.floats:
            if element.tag == "fig":
                self.carriers[element] = Carrier(scope)
            elif element.tag == "fig-group":
                self.groups[element] = scope
            else:
                self._assign_graphic(element, scope)

    def paragraph_text(self, index: int) -> str:
        """Text of a `<p>` without what is told elsewhere: nested paragraphs, figures, tables, supplements."""
        text = self._texts.get(index)
        if text is None:
            text = self._texts[index] = self.walk.paragraph_text(index)
        return text

    def _assign_graphic(self, graphic: etree._Element, scope: int) -> None:
        place = self.places[scope]
        if place.is_supplement:
            return
        if place.figure is not None:
            if graphic.tag != "inline-graphic" and not _is_formula(graphic, place.figure):
                carrier = self.carriers[place.figure]
                (carrier.in_caption if place.is_caption else carrier.graphics).append(graphic)
            return
        element = _carrier_of(graphic)
        is_document = graphic.tag == "media" and graphic.get("mimetype") != "video" and element is graphic
        if is_document:
            return
        if element not in self.carriers:
            self.carriers[element] = Carrier(self._scope_of(element, scope))
        self.carriers[element].graphics.append(graphic)

    def _scope_of(self, element: etree._Element, scope: int) -> int:
        """Scope of an element, given that of something in it."""
        line = {element, *element.iterancestors()}
        while self.walk.scope(scope) not in line:
            scope = self.places.outer[scope]
        return scope


_FORMULAS = {"disp-formula", "inline-formula", "chem-struct", "chem-struct-wrap", "disp-formula-group"}
_GRAPHIC_CARRIERS = _FORMULAS | {"table-wrap", "fig-group", "abstract", "trans-abstract", "array"}


def _is_formula(graphic: etree._Element, figure: etree._Element) -> bool:
    """Whether a graphic shows a formula in the text of a figure."""
    ancestor = graphic.getparent()
    while ancestor is not None and ancestor is not figure:
        if ancestor.tag in _FORMULAS:
            return True
        ancestor = ancestor.getparent()
    return False


def _carrier_of(graphic: etree._Element) -> etree._Element:
    """The element that stands for a graphic outside of figures: its formula, table, group or abstract, else itself."""
    is_inline = graphic.tag == "inline-graphic"
    for ancestor in graphic.iterancestors():
        if ancestor.tag in _FORMULAS:
            return ancestor
        if ancestor.tag in _GRAPHIC_CARRIERS and not (is_inline and not _is_graphical(ancestor)):
            return ancestor
        if ancestor.tag in {"caption", "body", "back", "front", "article"}:
            break
    return graphic


def _is_graphical(element: etree._Element) -> bool:
    return "graphical" in (element.get("abstract-type") or "").lower()
