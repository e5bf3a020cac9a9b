"""The reference list of an article: one record per `<ref>`, with the identifiers that link it to other articles."""

from __future__ import annotations

import re

from biomedica_kedro.jats.model import Reference
from biomedica_kedro.jats.tree import Walk

_DOI = re.compile(r"10\.\d{4,9}/\S+")


def read_references(walk: Walk) -> list[Reference]:
    """Records of the `<ref>` elements of an article, in their order."""
    return [
        Reference(identifier, pmid, _doi_in(with_doi) if with_doi else None, text)
        for identifier, pmid, with_doi, text in walk.cited_works()
    ]


def _doi_in(texts: list[str]) -> str | None:
    for text in texts:
        found = _DOI.search(text)
        if found:
            return found[0].rstrip(".,;")
    return None
