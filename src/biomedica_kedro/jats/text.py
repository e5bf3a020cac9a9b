"""Text of JATS elements: spaces collapsed, formulas as text, nothing said twice.

Left out everywhere: LaTeX and annotations beside MathML, object ids, supplementary files, nested figures. LaTeX that
stands alone is kept without its preamble. A space stands after each block, so that words of neighbours never join.
"""

from __future__ import annotations

import re

from lxml import etree

MATHML = "{http://www.w3.org/1998/Math/MathML}"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# Elements whose text is not part of the text around them.
APART = frozenset(
    {"object-id", "supplementary-material", "fig", "fig-group", f"{MATHML}annotation", f"{MATHML}annotation-xml"}
)
# Of a paragraph's text, moreover: what has a place of its own in the output, and nested paragraphs, told on their own.
APART_FROM_PARAGRAPH = APART | {"p", "table-wrap", "table-wrap-group", "alt-text", "long-desc"}
BLOCKS = frozenset(
    {
        "p",
        "title",
        "list-item",
        "break",
        "sec",
        "label",
        "def",
        "term",
        "disp-formula",
        "td",
        "th",
        "tr",
        "copyright-statement",
        "copyright-year",
        "license-p",
    }
)
TEX = "tex-math"
_MATH = f"{MATHML}math"
_ANNOTATIONS = (f"{MATHML}annotation", f"{MATHML}annotation-xml", TEX)
# Every element that is more to a text than the words in it.
_TOLD_OTHERWISE = APART_FROM_PARAGRAPH | BLOCKS | {TEX, _MATH}

_DOCUMENT = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)

# No-break, en, em, figure, thin, hair, narrow, ideographic and the rest, commonest first.
_WIDE_SPACES = tuple("\xa0\u2009\u202f\u2003\u2002\u200a\u2005\u3000\u2004\u2006\u2007\u2008\u2028\x85")


def clean(text: str) -> str:
    """Collapse runs of white space, no-break and thin spaces included, to one space."""
    # Replacing is several times cheaper than splitting and joining, and mostly there is nothing to replace.
    if "\n" in text:
        text = text.replace("\n", " ")
    if "\t" in text:
        text = text.replace("\t", " ")
    if "\r" in text:
        text = text.replace("\r", " ")
    if not text.isascii():
        for space in _WIDE_SPACES:
            if space in text:
                text = text.replace(space, " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


def children_by_tag(element: etree._Element) -> dict[str, list[etree._Element]]:
    """The children of an element by tag: one pass instead of a `find` for each of many tags."""
    children: dict[str, list[etree._Element]] = {}
    for child in element:
        children.setdefault(child.tag, []).append(child)
    return children


def plain_text(element: etree._Element | None) -> str:
    """All text of an element, for elements that hold nothing to leave out; the fast way."""
    if element is None:
        return ""
    if not len(element):
        return clean(element.text or "")
    return clean(all_text(element))


def all_text(element: etree._Element) -> str:
    """All text of an element as it stands in the file."""
    return etree.tostring(element, method="text", encoding="unicode", with_tail=False)


def text_of(element: etree._Element | None, apart: frozenset[str] = APART) -> str:
    """Text of an element without what `apart` names.

    Args:
        element: any element, or None.
        apart: tags whose content is left out (their tail is kept).
    """
    if element is None:
        return ""
    if not len(element):
        return clean(element.text or "")
    pieces: list[str] = []
    _gather(element, pieces, apart)
    return clean("".join(pieces))


def _gather(element: etree._Element, pieces: list[str], apart: frozenset[str]) -> None:
    if element.text:
        pieces.append(element.text)
    for child in element:
        tag = child.tag
        if tag in _TOLD_OTHERWISE:
            _gather_special(child, tag, pieces, apart)
        elif len(child):
            _gather(child, pieces, apart)
        elif child.text:
            pieces.append(child.text)
        if child.tail:
            pieces.append(child.tail)


def _gather_special(child: etree._Element, tag: str, pieces: list[str], apart: frozenset[str]) -> None:
    if tag == TEX:
        pieces.append(_latex(child))
    elif tag in apart:
        if tag in BLOCKS:
            pieces.append(" ")
    elif tag in BLOCKS:
        pieces.append(" ")
        _gather(child, pieces, apart)
        pieces.append(" ")
    elif tag == _MATH and next(child.iter(*_ANNOTATIONS), None) is None:
        pieces.append(all_text(child))
    else:
        _gather(child, pieces, apart)


def _latex(element: etree._Element) -> str:
    """LaTeX that has no MathML beside it, without preamble and dollar signs."""
    parent = element.getparent()
    if parent is not None and next(parent.iter(f"{MATHML}math"), None) is not None:
        return ""
    source = element.text or ""
    document = _DOCUMENT.search(source)
    return (document[1] if document else source).strip().strip("$")
