"""Where in the article an element stands: its section, figure, caption, sub-article.

Places are inherited from parent to child and remembered, so that asking for each of thousands of elements costs one
look-up. Only the tags in `_ENTER` make a new place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lxml import etree

from biomedica_kedro.jats.text import XML_LANG, text_of


class Zone(Enum):
    """The part of the article an element belongs to."""

    FRONT = "front"
    ABSTRACT = "abstract"
    TEXT = "text"
    FLOAT = "float"
    APART = "apart"


@dataclass(slots=True)
class Place:
    """What is known of an element from its ancestors and itself; shared between elements, so never changed.

    Attributes:
        zone: part of the article; FLOAT is inside a figure or table, APART is references, footnotes and supplements.
        section: titles of the sections around it, outermost first, joined by " > ".
        figure: nearest `<fig>`.
        group: nearest `<fig-group>`.
        abstract: the enclosing `<abstract>`.
        sub_article: id of the nearest `<sub-article>` or `<response>`, made unique; None in the article itself.
        is_caption: inside a caption.
        is_supplement: inside supplementary material, with no figure in between.
        language: nearest `xml:lang`.
    """

    zone: Zone = Zone.TEXT
    section: str = ""
    figure: etree._Element | None = None
    group: etree._Element | None = None
    abstract: etree._Element | None = None
    sub_article: str | None = None
    is_caption: bool = False
    is_supplement: bool = False
    language: str = "en"

    def copy(self) -> Place:
        """A place that can be changed; `copy.copy` and `replace` are several times slower."""
        return Place(
            self.zone, self.section, self.figure, self.group, self.abstract, self.sub_article, self.is_caption,
            self.is_supplement, self.language,
        )  # fmt: skip


class Places:
    """The places of one article's elements."""

    def __init__(self, article: etree._Element) -> None:
        self.sub_articles: dict[str, etree._Element] = {}
        self._outermost = Place(language=article.get(XML_LANG) or "en")
        self._places = {article: self._outermost}

    def around(self, element: etree._Element) -> Place:
        """The place an element stands in, its own tag left out."""
        parent = element.getparent()
        return self._outermost if parent is None else self.of(parent)

    def of(self, element: etree._Element) -> Place:
        """The place an element stands in, its own tag included."""
        place = self._places.get(element)
        if place is None:
            parent = element.getparent()
            if parent is None:
                raise ValueError(f"<{element.tag}> lies outside the article")
            place = self._places.get(parent)
            if place is None:
                place = self._places[parent] = self.of(parent)
            enter = _ENTER.get(element.tag)
            if enter is not None:
                place = self._places[element] = enter(place, element)
            elif element.tag in _SUB_ARTICLES:
                place = self._places[element] = self._enter_sub_article(element, place)
        return place

    def _enter_sub_article(self, element: etree._Element, outer: Place) -> Place:
        name = element.get("id") or f"sub-article-{len(self.sub_articles) + 1}"
        self.sub_articles[name] = element
        return Place(sub_article=name, language=element.get(XML_LANG) or outer.language)


def _section(outer: Place, element: etree._Element) -> Place:
    title = _title_of(element)
    if not title:
        return outer
    place = outer.copy()
    place.section = f"{outer.section} > {title}" if outer.section else title
    return place


def _title_of(element: etree._Element) -> str:
    label = ""
    for child in element:
        if child.tag == "title":
            return text_of(child)
        if child.tag == "caption":
            return _title_of(child)
        if child.tag == "label":
            label = text_of(child)
        else:
            break
    return label


def _figure(outer: Place, element: etree._Element) -> Place:
    place = outer.copy()
    place.figure, place.zone, place.is_caption, place.is_supplement = element, Zone.FLOAT, False, False
    place.language = element.get(XML_LANG) or place.language
    return place


def _group(outer: Place, element: etree._Element) -> Place:
    place = outer.copy()
    place.group, place.zone = element, Zone.FLOAT
    return place


def _abstract(outer: Place, element: etree._Element) -> Place:
    place = outer.copy()
    place.abstract, place.zone = element, Zone.ABSTRACT
    return place


def _caption(outer: Place, _: etree._Element) -> Place:
    place = outer.copy()
    place.is_caption, place.zone = True, Zone.FLOAT
    return place


def _supplement(outer: Place, _: etree._Element) -> Place:
    place = outer.copy()
    place.is_supplement, place.zone = True, Zone.APART
    return place


def _to(zone: Zone) -> Callable[[Place, etree._Element], Place]:
    def enter(outer: Place, _: etree._Element) -> Place:
        place = outer.copy()
        place.zone = zone
        return place

    return enter


_SUB_ARTICLES = {"sub-article", "response"}
_ENTER: dict[str, Callable[[Place, etree._Element], Place]] = {
    **dict.fromkeys(("sec", "app", "ack", "boxed-text"), _section),
    **dict.fromkeys(("front", "front-stub"), _to(Zone.FRONT)),
    **dict.fromkeys(("ref-list", "fn-group", "fn", "bio", "glossary", "table-wrap-foot"), _to(Zone.APART)),
    **dict.fromkeys(("abstract", "trans-abstract"), _abstract),
    "table-wrap": _to(Zone.FLOAT),
    "fig": _figure,
    "fig-group": _group,
    "caption": _caption,
    "supplementary-material": _supplement,
}
