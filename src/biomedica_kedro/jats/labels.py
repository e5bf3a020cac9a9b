"""Figure labels and how texts refer to them: "Figure 2", "Fig. S1", "Figs 1-4", "Figura 3"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

LabelKey = tuple[str, int]
"""Series and number: ("fig", 2), ("fig s", 1), ("scheme", 3), ("fig 2-fig supplement", 1)."""

_WORD = r"(?:supplementary\s+|supplemental\s+)?(?:fig(?:ure|ura|\.)?s?\.?|abb(?:ildung|\.)?|schemes?|charts?|plates?)"
_FIGURE_WORD = re.compile(r"fig(?:ures?|uras?|s)?\b\.?|abb(?:ildung(?:en)?)?\b\.?", re.IGNORECASE)
_LABEL = re.compile(r"(?P<series>.*?)(?P<number>\d+)\s*(?:[A-Za-z]|\([A-Za-z]\))?\W*$", re.DOTALL)
_CITED = re.compile(
    rf"\b(?P<word>{_WORD})\s*(?P<series>[A-Z]\.?)?(?P<first>\d+)[A-Za-z]?(?:\s*[–—‒−-]\s*(?P=series)?(?P<last>\d+))?",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"(?P<first>\d+)\s*[A-Za-z]?\s*[–—‒−-]\s*[A-Za-z]?(?P<last>\d+)")
MAX_RANGE = 30


@lru_cache(maxsize=4096)
def label_key(label: str) -> LabelKey | None:
    """Series and number of a label; None when it has no number."""
    found = _LABEL.match(label)
    return (_series(found["series"]), int(found["number"])) if found else None


def cited_labels(text: str) -> Iterator[tuple[LabelKey, str]]:
    """Labels that a text names in words, ranges spelled out, each with the words."""
    for found in _CITED.finditer(text):
        series = _series(f"{found['word']} {found['series'] or ''}")
        first = int(found["first"])
        last = int(found["last"]) if found["last"] else first
        for number in range(first, last + 1) if first <= last <= first + MAX_RANGE else (first,):
            yield (series, number), found[0]


def range_in(text: str) -> tuple[int, int] | None:
    """First and last number of a range such as "1-4" in the text of a cross reference."""
    found = _NUMBERS.search(text)
    if found is None:
        return None
    first, last = int(found["first"]), int(found["last"])
    return (first, last) if first < last <= first + MAX_RANGE else None


def _series(text: str) -> str:
    words = _FIGURE_WORD.sub("fig ", text.lower())
    words = re.sub(r"\b(scheme|chart|plate)s\b", r"\1", words)
    return " ".join(re.sub(r"[^\w]+", " ", words).split())
