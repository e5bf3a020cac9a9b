"""The reference list of an article: one record per `<ref>`, with the identifiers that link it to other articles."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

from lxml import etree

from biomedica_kedro.jats.model import Reference
from biomedica_kedro.jats.text import all_text, clean

XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_IN_PARTS = {"element-citation", "citation", "nlm-citation", "citation-alternatives"}
# An XPath, because `itertext` takes three times as long.
_texts = etree.XPath("descendant::text()", smart_strings=False)
# No XML holds this character, and it is no white space, so that empty texts at either end stay.
_BETWEEN = "\0"
_DOI = re.compile(r"10\.\d{4,9}/\S+")


def read_references(refs: Iterable[tuple[etree._Element, list[etree._Element]]]) -> list[Reference]:
    """Records of `<ref>` elements, in their order.

    Args:
        refs: each `<ref>` with the `<pub-id>` and `<ext-link>` elements that follow it; the last may have more than
            are its own.
    """
    records: list[Reference] = []
    texts: list[str] = []
    for ref, identifiers in refs:
        pmid, doi = _identifiers_of(ref, identifiers) if identifiers else (None, None)
        texts.append(_text(ref))
        records.append(Reference(ref.get("id"), pmid, doi, ""))
    # Cleaned at one go: most texts are short, and there are fifty to an article.
    for record, text in zip(records, clean(_BETWEEN.join(texts)).split(_BETWEEN), strict=bool(records)):
        record.text = text.strip()
    return records


def _identifiers_of(ref: etree._Element, identifiers: list[etree._Element]) -> tuple[str | None, str | None]:
    """PMID and DOI."""
    pmid = doi = None
    for element in identifiers:
        kind = element.get("pub-id-type") or element.get("ext-link-type")
        if kind == "pmid":
            if pmid is None and _is_inside(element, ref):
                pmid = (element.text or "").strip() or None
        elif doi is None:
            found = _doi_in(element.text) or _doi_in(element.get(XLINK_HREF))
            doi = found if found and _is_inside(element, ref) else None
    return pmid, doi


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
        tag = child.tag
        if tag == "mixed-citation":
            return all_text(child)
        if tag in _IN_PARTS:
            return " ".join(cast("list[str]", _texts(child)))
    return all_text(ref)
