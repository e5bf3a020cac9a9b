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

_DOCUMENT = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
# White space a text is searched for before it is split and joined again, which costs ten times as much.
_COMMON_SPACES = ("\n", "  ", "\t", "\r")
_RARE_SPACES = ("\xa0", "\u2009", "\u202f", "\u2003", "\u2002", "\u200a", "\u3000", "\u2005", "\u2028", "\u2008")


def clean(text: str) -> str:
    """Collapse runs of white space, no-break and thin spaces included, to one space."""
    for space in _COMMON_SPACES:
        if space in text:
            return " ".join(text.split())
    if not text.isascii():
        for space in _RARE_SPACES:
            if space in text:
                return " ".join(text.split())
    return text.strip()


def plain_text(element: etree._Element | None) -> str:
    """All text of an element, for elements that hold nothing to leave out; the fast way."""
    if element is None:
        return ""
    return clean(etree.tostring(element, method="text", encoding="unicode", with_tail=False))


def text_of(element: etree._Element | None, apart: frozenset[str] = APART) -> str:
    """Text of an element without what `apart` names.

    Args:
        element: any element, or None.
        apart: tags whose content is left out (their tail is kept).
    """
    if element is None:
        return ""
    pieces: list[str] = []
    _gather(element, pieces, apart)
    return clean("".join(pieces))


def _gather(element: etree._Element, pieces: list[str], apart: frozenset[str]) -> None:
    if element.text:
        pieces.append(element.text)
    for child in element:
        tag = child.tag
        if tag == TEX:
            pieces.append(_latex(child))
        elif tag in apart:
            if tag in BLOCKS:
                pieces.append(" ")
        elif tag in BLOCKS:
            pieces.append(" ")
            _gather(child, pieces, apart)
            pieces.append(" ")
        else:
            _gather(child, pieces, apart)
        if child.tail:
            pieces.append(child.tail)


def _latex(element: etree._Element) -> str:
    """LaTeX that has no MathML beside it, without preamble and dollar signs."""
    parent = element.getparent()
    if parent is not None and next(parent.iter(f"{MATHML}math"), None) is not None:
        return ""
    source = element.text or ""
    document = _DOCUMENT.search(source)
    return (document[1] if document else source).strip().strip("$")
