"""The reference list of an article: one record per `<ref>`, with the identifiers that link it to other articles."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lxml import etree

from biomedica_kedro.jats.model import Reference
from biomedica_kedro.jats.text import clean, plain_text

XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_DOI = re.compile(r"10\.\d{4,9}/\S+")


def read_references(refs: Iterable[etree._Element]) -> list[Reference]:
    """Records of `<ref>` elements, in their order."""
    return [_read_reference(ref) for ref in refs]


def _read_reference(ref: etree._Element) -> Reference:
    pmid = doi = None
    for element in ref.iter("pub-id", "ext-link"):
        kind = element.get("pub-id-type") or element.get("ext-link-type")
        if kind == "pmid":
            pmid = pmid or (element.text or "").strip() or None
        elif doi is None:
            doi = _doi_in(element.text) or _doi_in(element.get(XLINK_HREF))
    return Reference(ref.get("id"), pmid, doi, _text(ref))


def _doi_in(text: str | None) -> str | None:
    if not text or "10." not in text:
        return None
    found = _DOI.search(text)
    return found[0].rstrip(".,;") if found else None


def _text(ref: etree._Element) -> str:
    """The citation as a reader sees it; parts without punctuation of their own are set apart by spaces."""
    citation = ref.find("mixed-citation")
    if citation is not None:
        return plain_text(citation)
    return clean(" ".join(map(str, ref.itertext())))
