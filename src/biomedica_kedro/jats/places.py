"""Where in the article an element stands: its section, figure, caption, sub-article.

Places are inherited: only the elements in `tags.SCOPES` begin a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from biomedica_kedro.jats.tags import ABSTRACTS, ASIDES, SECTIONS
from biomedica_kedro.jats.tree import Walk, language_of, text_of


@dataclass(slots=True)
class Place:
    """What is known of an element from its ancestors and itself; shared between elements, so never changed.

    Attributes:
        is_text: in the running text, of the article or of a sub-article.
        section: titles of the sections around it, outermost first, joined by " > ".
        figure: nearest `<fig>`.
        holder: nearest `<fig>` or `<fig-group>`, which may hand its caption and label down to what it holds.
        abstract: the enclosing `<abstract>`.
        sub_article: id of the nearest `<sub-article>` or `<response>`, made unique; None in the article itself.
        is_caption: inside a caption.
        is_supplement: inside supplementary material, with no figure in between.
        language: nearest `xml:lang`.
    """

    is_text: bool = True
    section: str = ""
    figure: etree._Element | None = None
    holder: etree._Element | None = None
    abstract: etree._Element | None = None
    sub_article: str | None = None
    is_caption: bool = False
    is_supplement: bool = False
    language: str = "en"

    def copy(self) -> Place:
        """A place that can be changed; `copy.copy` and `replace` are several times slower."""
        return Place(
            self.is_text, self.section, self.figure, self.holder, self.abstract, self.sub_article, self.is_caption,
            self.is_supplement, self.language,
        )  # fmt: skip


class Places(dict[int, Place]):
    """The places of one article, by scope (see `Walk`); each is made when it is first asked for."""

    def __init__(self, walk: Walk) -> None:
        self.sub_articles: dict[str, etree._Element] = {}
        self._walk = walk
        self.outer = walk.outer
        self[0] = Place(language=language_of(walk.scope(0)) or "en")
        for scope in walk.sub_articles:
            self[scope]  # now, since those without an id are numbered in their order

    def __missing__(self, scope: int) -> Place:
        element = self._walk.scope(scope)
        enter = _ENTER.get(element.tag, self._enter_sub_article)
        place = self[scope] = enter(self[self.outer[scope]], element)
        return place

    def _enter_sub_article(self, outer: Place, element: etree._Element) -> Place:
        name = element.get("id") or f"sub-article-{len(self.sub_articles) + 1}"
        self.sub_articles[name] = element
        return Place(sub_article=name, language=language_of(element) or outer.language)


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


def _within(outer: Place, **told: object) -> Place:
    """A place outside of the running text, and what is told of it."""
    place = outer.copy()
    place.is_text = False
    for name, value in told.items():
        setattr(place, name, value)
    return place


def _figure(outer: Place, element: etree._Element) -> Place:
    language = language_of(element) or outer.language
    return _within(outer, figure=element, holder=element, is_caption=False, is_supplement=False, language=language)


def _abstract(outer: Place, element: etree._Element) -> Place:
    return _within(outer, abstract=element, language=language_of(element) or outer.language)


_ENTER: dict[str, Callable[[Place, etree._Element], Place]] = {
    **dict.fromkeys(SECTIONS, _section),
    **dict.fromkeys(ASIDES, lambda outer, _: _within(outer)),
    **dict.fromkeys(ABSTRACTS, _abstract),
    "fig": _figure,
    "fig-group": lambda outer, element: _within(outer, holder=element),
    "caption": lambda outer, _: _within(outer, is_caption=True),
    "supplementary-material": lambda outer, _: _within(outer, is_supplement=True),
}
