"""The reference list of an article: one record per `<ref>`, with the identifiers that link it to other articles."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

from lxml import etree

from biomedica_kedro.jats.model import Reference
from biomedica_kedro.jats.text import clean, plain_text

XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_IN_PARTS = {"element-citation", "citation", "nlm-citation", "citation-alternatives"}
# An XPath, because `itertext` takes three times as long.
_texts = etree.XPath("descendant::text()", smart_strings=False)
_DOI = re.compile(r"10\.\d{4,9}/\S+")


def read_references(refs: Iterable[tuple[etree._Element, Iterable[etree._Element]]]) -> list[Reference]:
    """Records of `<ref>` elements, in their order.

    Args:
        refs: each `<ref>` with the `<pub-id>` and `<ext-link>` elements that follow it; the last may have more than
            are its own.
    """
    return [_read_reference(ref, identifiers) for ref, identifiers in refs]


def _read_reference(ref: etree._Element, identifiers: Iterable[etree._Element]) -> Reference:
    pmid = doi = None
    for element in identifiers:
        kind = element.get("pub-id-type") or element.get("ext-link-type")
        if kind == "pmid":
            if pmid is None and _is_inside(element, ref):
                pmid = (element.text or "").strip() or None
        elif doi is None:
            found = _doi_in(element.text) or _doi_in(element.get(XLINK_HREF))
            doi = found if found and _is_inside(element, ref) else None
    return Reference(ref.get("id"), pmid, doi, _text(ref))


def _is_inside(element: etree._Element, ref: etree._Element) -> bool:
    parent = element.getparent()
    return parent is not None and (parent.getparent() is ref or ref in element.iterancestors("ref"))


def _doi_in(text: str | None) -> str | None:
    if not text or "10." not in text:
        return None
    found = _DOI.search(text)
    return found[0].rstrip(".,;") if found else None


def _text(ref: etree._Element) -> str:
    """The citation as a reader sees it; parts without punctuation of their own are set apart by spaces."""
    for child in ref:
        if child.tag == "mixed-citation":
            return plain_text(child)
        if child.tag in _IN_PARTS:
            return clean(" ".join(cast("list[str]", _texts(child))))
    return plain_text(ref)
