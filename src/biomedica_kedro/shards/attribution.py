"""Whom to name when a figure is used again: the line Creative Commons licenses ask for, per sample and per subset.

Source: Creative Commons, recommended practices for attribution: title, author, source, license, and changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from biomedica_kedro.pmc.identifiers import known_pmcid

NO_LICENSE = "no license statement"
CUT_OUT = " One panel was cut out of the figure."
CHANGED = " The image was resized."

_AUTHORS_NAMED = 3


def attribution_line(article: Mapping[str, Any], license_code: str | None) -> str:
    """Authors, title, journal, year, license and link, as far as they are known.

    Args:
        article: a row of `articles`.
        license_code: the figure's license.
    Example:
        >>> attribution_line({"article_id": "PMC7.1", "title": "Cells", "authors": ["A. Bee"], "journal": "J",
        ...                   "publication_date": "2020-05", "doi": "10.1/x"}, "CC BY")
        'A. Bee. Cells. J, 2020. License: CC BY. https://doi.org/10.1/x'
    """
    authors = list(article.get("authors") or ())
    named = ", ".join(authors[:_AUTHORS_NAMED]) + (" et al" if len(authors) > _AUTHORS_NAMED else "")
    year = (article.get("publication_date") or "")[:4]
    published = ", ".join(part for part in (article.get("journal"), year) if part)
    parts = [named, article.get("title"), published, f"License: {license_code or NO_LICENSE}"]
    told = " ".join(_sentence(part) for part in parts if part)
    return " ".join(part for part in (told, link_of(article)) if part)


def link_of(article: Mapping[str, Any]) -> str:
    """Where the article is read: by its DOI, else by its PMCID; empty when it has neither."""
    if article.get("doi"):
        return f"https://doi.org/{article['doi']}"
    pmcid = known_pmcid(article["article_id"])
    return f"https://pmc.ncbi.nlm.nih.gov/articles/{pmcid}/" if pmcid else ""


def forbids_derivatives(license_code: str | None) -> bool:
    """Whether a license forbids to share adaptations: "CC BY-ND", "CC BY-NC-ND"."""
    return "ND" in re.split(r"[^A-Z]+", (license_code or "").upper())


def attribution_file(subset: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Lines of the file that names every article of a subset once.

    Args:
        subset: its name.
        rows: article id and attribution of each sample.
    """
    yield f"Sources of the images and captions in the subset {subset!s}: one line an article and license.\n\n"
    seen: set[int] = set()  # hashes: 5 million articles are then 300 MB
    for _, line in rows:
        line = line.removesuffix(CHANGED).removesuffix(CUT_OUT)
        if hash(line) not in seen:
            seen.add(hash(line))
            yield f"{line}\n"


def _sentence(text: str) -> str:
    plain = " ".join(str(text).split())
    return plain if plain.endswith((".", "?", "!")) else f"{plain}."
