"""The walks over an article's tree in Python: what `tree` offers, where no C compiler was at hand.

Texts are written as a reader sees them but on one line: exponents and indices stand on it as they are (CO2, Ca2+, m2),
but where two numerals would become one, or an exponent a subtraction, a mark says what the height said: 5 × 10^5,
10^−3, H2^18O, 1/2 for a fraction. See `_marked`.

This is the definition; `_tree_compiled.pyx` does the same several times faster, and tests hold the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import cast

from lxml import etree

from biomedica_kedro.jats.tags import (
    APART,
    APART_FROM_PARAGRAPH,
    BLOCKS,
    CITATIONS_IN_PARTS,
    FLOATS,
    IDENTIFIERS,
    MATH,
    MATH_BOXES,
    MATH_SCRIPTS,
    SCOPES,
    SCRIPTS,
    SUB_ARTICLES,
    TEX,
    TEXT_SCOPES,
    WRITTEN_CITATION,
    XLINK_HREF,
)

_DIGITS = "0123456789"
_EXPONENT = re.compile(r"[+\-−–‐‑‒]\s*[0-9A-Za-z\u0380-\u03ff]|[\u0380-\u03ff]|[k-nNx-z](?![A-Za-z0-9])")
_XML_SPACE = " \t\r\n"
_PREAMBLE = re.compile(r"(?:\s*\\(?:documentclass|usepackage|setlength)(?:\[[^\]]*\]|\{[^{}]*\})*)+")
# An XPath, because `itertext` takes three times as long.
_texts = etree.XPath("descendant::text()", smart_strings=False)

TextParagraph = tuple[int, int, str, int]
"""Index of a `<p>` among all of the file, its scope, its text, and how often "fig" stands in it in any case."""

CrossReference = tuple[etree._Element, str, str, int, int | None]
"""An `<xref>`, its `@rid`, its words, its scope, and the index of the nearest `<p>` around it."""

CitedWork = tuple[str | None, str | None, list[str], str]
"""Of a `<ref>`: its id, PMID, the texts that may hold a DOI, and its text."""


class Walk:
    """The elements of an article that the rest of the package works on, gathered in one pass.

    A *scope* is the index of an element that begins a place of its own (`tags.SCOPES`); the root is scope 0.

    Attributes:
        outer: of each scope, the scope around it; of the root, itself.
        text_paragraphs: each `<p>` whose scope is the root or one of `tags.TEXT_SCOPES`, in document order.
        cited_works: what each `<ref>` says, in document order.
        sub_articles: scopes of `<sub-article>` and `<response>` elements.
        floats: each `<fig>`, `<fig-group>`, `<graphic>`, `<inline-graphic>` and `<media>`, in document order, with its
            scope, which is the element itself where it begins one.
    """

    def __init__(self, root: etree._Element) -> None:
        self.outer = [0]
        self.sub_articles: list[int] = []
        self.floats: list[tuple[etree._Element, int]] = []
        self._scopes = [root]
        self.text_paragraphs: list[TextParagraph] = []
        self.cited_works: list[CitedWork] = []
        self._paragraphs: list[etree._Element] = []
        self._links: list[tuple[etree._Element, int, int | None]] = []
        # Around the element, innermost last.
        scopes = [0]
        paragraphs: list[int | None] = [None]
        for event, element in etree.iterwalk(root, ("start", "end"), ("p", "xref", "ref", *FLOATS, *SCOPES)):
            tag = element.tag
            if event == "end":
                if tag in SCOPES:
                    scopes.pop()
                elif tag == "p":
                    paragraphs.pop()
                continue
            if tag in SUB_ARTICLES:
                self.sub_articles.append(len(self._scopes))
            if tag in SCOPES:
                self.outer.append(scopes[-1])
                scopes.append(len(self._scopes))
                self._scopes.append(element)
            if tag == "p":
                index, scope = len(self._paragraphs), scopes[-1]
                paragraphs.append(index)
                self._paragraphs.append(element)
                if not scope or self._scopes[scope].tag in TEXT_SCOPES:
                    text = self.paragraph_text(index)
                    self.text_paragraphs.append((index, scope, text, text.lower().count("fig")))
            elif tag == "xref":
                self._links.append((element, scopes[-1], paragraphs[-1]))
            elif tag == "ref":
                self.cited_works.append(_cited_work(element))
            elif tag in FLOATS:
                self.floats.append((element, scopes[-1]))

    def scope(self, index: int) -> etree._Element:
        """The element that begins a scope."""
        return self._scopes[index]

    def paragraph_text(self, index: int) -> str:
        """Text of a `<p>` without what is told elsewhere: nested paragraphs, figures, tables, supplements."""
        return _told(self._paragraphs[index], APART_FROM_PARAGRAPH)

    def xrefs(self, rids: Container[str], ref_types: Container[str]) -> list[CrossReference]:
        """Cross references to one of these ids, to several ids at once, or of one of these types.

        Nine of ten cite the literature: they are told apart before anything else is asked of them.
        """
        return [
            (xref, rid, plain_text(xref), scope, paragraph)
            for xref, scope, paragraph in self._links
            if (rid := xref.get("rid", "")) in rids or " " in rid or xref.get("ref-type", "") in ref_types
        ]


def text_of(element: etree._Element | None) -> str:
    """Text of an element as a reader sees it, without what `tags.APART` names; empty for None."""
    return "" if element is None else _told(element, APART)


def plain_text(element: etree._Element | None) -> str:
    """All text of an element, for elements that hold nothing to leave out; empty for None."""
    return "" if element is None else clean(_all_text(element))


def children_by_tag(element: etree._Element) -> dict[str, list[etree._Element]]:
    """The children of an element by tag: one pass instead of a `find` for each of many tags."""
    children: dict[str, list[etree._Element]] = {}
    for child in element.iterchildren(etree.Element):
        children.setdefault(child.tag, []).append(child)
    return children


def texts_by_tag(element: etree._Element) -> dict[str, str]:
    """All text of each child of an element, by tag; of children with one tag, the last one's."""
    return {child.tag: plain_text(child) for child in element.iterchildren(etree.Element)}


def clean(text: str) -> str:
    """Collapse runs of white space, no-break and thin spaces included, to one space."""
    return " ".join(text.split())


def latex_of(element: etree._Element) -> str:
    """LaTeX that has no MathML beside it, without preamble and dollar signs."""
    parent = element.getparent()
    if parent is not None and next(parent.iter(MATH), None) is not None:
        return ""
    source = (element.text or "").rpartition(r"\begin{document}")[2].partition(r"\end{document}")[0]
    return _PREAMBLE.sub("", source).strip().strip("$")


def _told(element: etree._Element, apart: frozenset[str]) -> str:
    pieces: list[str] = []
    _tell(element, apart, pieces)
    return clean("".join(pieces))


def _tell(element: etree._Element, apart: frozenset[str], pieces: list[str]) -> None:
    """Append what a reader sees of an element, without the elements that are `apart`."""
    is_box, marks = element.tag in MATH_BOXES, MATH_SCRIPTS.get(element.tag, "")
    _append(element.text, is_box, pieces)
    for place, child in enumerate(element):
        tag, start = child.tag, len(pieces)
        if tag == TEX:
            _append(latex_of(child), False, pieces)
        elif tag in apart:
            _append(" " if tag in BLOCKS else "", False, pieces)
        elif tag in BLOCKS:
            pieces.append(" ")
            _tell(child, apart, pieces)
            pieces.append(" ")
        else:
            _tell(child, apart, pieces)
        mark = marks[place - 1 : place] if place else ""
        if tag in SCRIPTS:
            mark = " " if element.tag == "xref" else SCRIPTS[tag]
        if mark and start and _is_marked(mark, pieces[start - 1][-1], "".join(pieces[start:])):
            pieces.insert(start, mark)
        if tag in SCRIPTS and pieces and pieces[-1][-1] in _DIGITS and child.tail and child.tail[0] in _DIGITS:
            pieces.append(" ")
        _append(child.tail, is_box, pieces)


def _append(text: str | None, is_box: bool, pieces: list[str]) -> None:
    if text and not (is_box and not text.strip(_XML_SPACE)):
        pieces.append(text)


def _is_marked(mark: str, before: str, content: str) -> bool:
    """Whether a mark stands between a character and what follows it at another height.

    A superscript is marked that begins with a digit, a Greek letter, a sign before a digit or letter, or is a variable:
    10^−3, 2^ΔΔCt, 10^n. Else letters and signs are ordinals, charges, genotypes and footnote marks: 4th, NH4+, Tp53−/−.
    """
    if mark == "/":
        return not before.isspace() and content.strip() != ""
    if before not in _DIGITS or not content:
        return False
    if content[0] in _DIGITS or mark != "^":
        return content[0] in _DIGITS
    return _EXPONENT.match(content) is not None


def _all_text(element: etree._Element) -> str:
    """All text of an element as it stands in the file."""
    return etree.tostring(element, method="text", encoding="unicode", with_tail=False)


def _cited_work(ref: etree._Element) -> CitedWork:
    pmid: str | None = None
    with_doi: list[str] = []
    for element in ref.iter("ref", *IDENTIFIERS):
        if element.tag == "ref":
            if element is not ref:
                break  # a nested reference has identifiers of its own
        elif (element.get("pub-id-type") or element.get("ext-link-type")) == "pmid":
            pmid = pmid or (element.text or "").strip() or None
        else:
            with_doi += [text for text in (element.text, element.get(XLINK_HREF)) if text and "10." in text]
    return ref.get("id"), pmid, with_doi, _citation(ref)


def _citation(ref: etree._Element) -> str:
    """The citation as a reader sees it; parts without punctuation of their own are set apart by spaces."""
    for child in ref:
        if child.tag == WRITTEN_CITATION:
            return plain_text(child)
        if child.tag in CITATIONS_IN_PARTS:
            return clean(" ".join(cast("list[str]", _texts(child))))
    return plain_text(ref)
