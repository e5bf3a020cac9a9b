"""JATS names by what they mean to a text: left out of it, set apart by a space, written otherwise.

Source: JATS tag library (NISO Z39.96) 1.0 to 1.4; names with a namespace are written as lxml writes them.
"""

from __future__ import annotations

MATHML = "{http://www.w3.org/1998/Math/MathML}"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
# Source: ISO 639-2 and 639-1, of the languages articles are written in.
LANGUAGES = {
    "eng": "en", "spa": "es", "por": "pt", "fre": "fr", "fra": "fr", "ger": "de", "deu": "de", "ita": "it", "chi": "zh",
    "zho": "zh", "jpn": "ja", "kor": "ko", "rus": "ru", "pol": "pl", "tur": "tr",
}  # fmt: skip

TEX = "tex-math"
MATH = f"{MATHML}math"
# What stands before the second and the third child of these.
MATH_SCRIPTS = {
    f"{MATHML}{name}": marks
    for name, marks in (
        ("msup", "^"), ("mover", "^"), ("msub", "_"), ("munder", "_"), ("msubsup", "_^"), ("munderover", "_^"),
        ("mfrac", "/"),
    )
}  # fmt: skip
# White space between the elements in these is no text.
MATH_BOXES = frozenset({MATH, *(f"{MATHML}{name}" for name in ("mrow", "mstyle", "semantics")), *MATH_SCRIPTS})

# Before these stands a mark where their numeral would join the numeral before: 10^5, H2^18O, "in 2010 12" (a citation).
SCRIPTS = {"sup": "^", "sub": "_", "xref": " "}

# Elements whose text is not part of the text around them.
APART = frozenset(
    {"object-id", "supplementary-material", "fig", "fig-group", f"{MATHML}annotation", f"{MATHML}annotation-xml"}
)
# Of a paragraph's text, moreover: what has a place of its own in the output, and nested paragraphs, told on their own.
APART_FROM_PARAGRAPH = APART | {"p", "table-wrap", "table-wrap-group", "alt-text", "long-desc", "graphic", "media"}
# A space stands on both sides of each, so that words of neighbours never join.
BLOCKS = frozenset(
    {
        "p", "title", "list-item", "break", "sec", "label", "def", "term", "disp-formula", "td", "th", "tr",
        "copyright-statement", "copyright-year", "license-p", f"{MATHML}mtd",
    }
)  # fmt: skip

# Where a place of its own begins: see `places`.
SECTIONS = frozenset({"sec", "app", "ack", "boxed-text"})
ASIDES = frozenset(
    {"front", "front-stub", "ref-list", "fn-group", "fn", "bio", "glossary", "table-wrap", "table-wrap-foot"}
)
ABSTRACTS = frozenset({"abstract", "trans-abstract"})
SUB_ARTICLES = frozenset({"sub-article", "response"})
# The text in these is the article's own, if they themselves stand in it; in every other scope it is not.
TEXT_SCOPES = SECTIONS | SUB_ARTICLES
SCOPES = TEXT_SCOPES | ASIDES | ABSTRACTS | {"fig", "fig-group", "caption", "supplementary-material"}

# What may be or make a figure.
FLOATS = frozenset({"fig", "fig-group", "graphic", "inline-graphic", "media"})

# Citations of a `<ref>`: as the publisher wrote them, or in parts without punctuation of their own.
WRITTEN_CITATION = "mixed-citation"
CITATIONS_IN_PARTS = frozenset({"element-citation", "citation", "nlm-citation", "citation-alternatives"})
IDENTIFIERS = frozenset({"pub-id", "ext-link"})
