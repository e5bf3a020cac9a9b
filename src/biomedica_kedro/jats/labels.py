"""Figure labels and how texts refer to them: "Figure 2", "Fig. S1", "Figs 1, 3 and 5-7", "Figura 3", "Image 1".

Series are kept apart: "Extended Data Fig. 1" and "Supplementary Fig. 1" are not Figure 1, nor is a figure of another
work ("Fig. 2 of ref. 12") or of an additional file, nor "Fig. 1.2".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

LabelKey = tuple[str, str, int]
"""What is numbered, the letters before the number, the number: ("fig", "", 2), ("fig", "s", 1), ("image", "", 1)."""

FIGURE = "fig"
FIGURES = {"Fig": FIGURE, "fig": FIGURE, "FIG": FIGURE, "Abb": FIGURE}
MAX_RANGE = 30

_FIGURE_WORD = r"fig(?:ure|ura)?s?|abb(?:ildung(?:en)?)?"
_NUMBER = r"(?P<prefix>[A-Za-z]{1,2}[.-]?)?(?P<number>\d+)(?P<minor>(?:\.\d+)*)"
_PANEL = r"(?:\([A-Za-z]\)|[A-Za-z])['′]?(?![A-Za-z0-9])"
_ITEM = re.compile(
    rf"\s*{_NUMBER}(?P<panels>(?:{_PANEL}|\s(?:\([A-Za-z]\)|[A-Z])(?!\w))?(?:\s?(?:,|&|and|[–—‒−-]|to)\s?{_PANEL})*)(?![\w%])"
)
_ROMAN = re.compile(r"\s*([IVX]{1,5})(?![A-Za-z0-9])")
_LINK = re.compile(
    r"\s*(?:(?P<range>[–—‒−‐‑-]|(?:to|through|thru|a|até|al|à|bis)\s)|[,;/&]?\s*(?:(?:and|or|et|y|e|und)\s)?)\s*"
)
# What follows the last number of a list after a singular ("Fig. 1, 2"), unlike "Fig. 1, 2 mice".
_LIST_END = re.compile(r"\s*(?:[).,;:\]]|$|(?:and|or)\s|[&–-])|\s(?:show|depict|demonstrat|illustrat|present|summari)")
_SUPPLEMENT = re.compile(r"\s*[—–-]\s*((?:figure|table)\s+supplement|video|movie|source (?:data|code))s?\s+(\d+)", re.I)
_OF_A_NUMBER = re.compile(r"\d\s*[—–-]\s*$")
_NOT_A_FIGURE = re.compile(r"\s(?:Table|Text|File|Movie|Video|Data|Appendix)")
_QUALIFIER = re.compile(
    r"\b(e-|supp\w*\.?(?: (?:information|materials?|data))?|supporting(?: information)?|extended[- ]data"
    r"|author response|(?:appendix|box)(?: \d+)?)[\s,:—–-]*$",
    re.IGNORECASE,
)
_ELSEWHERE_BEFORE = re.compile(
    r"(?i:additional files?\s*\w*\s*[:,;(–-]?|\b(?:their|his|her|whose)|\bref(?:s|erences?)?\.?\s*\[?\d+\]?\s*[,:;]?"
    r"|\bet al\.?,?\s*\(?\d{4}[a-z]?\)?\s*[,:;]|\[\d+\s*[,:;])\s*$"
)
_ELSEWHERE_AFTER = re.compile(
    r"\s*,?\s*(?:of|in|from)\s+(?:the\s+)?(?:(?i:refs?\b|reference|\[\d|additional|supp|supporting|appendix|their|his|her|(?:an)?other)"
    r"|S\d+ (?:File|Text|Appendix|Fig)|[A-Z][\w'’-]+(?:,? (?:and|&) [A-Z][\w'’-]+)?,? (?:et al|[(\[]?\d{4}|\[\d))"
)
_NUMBERED = re.compile(rf"(?:(?<![^\W\d_])(?P<head>[^\W\d_]{{2,}}?)s?[\s.:]*)??(?:{_NUMBER}|(?P<roman>[IVX]+)\b)")
_REACH = 40  # characters before a figure word that may say whose figure it is


@lru_cache(maxsize=4096)
def label_key(label: str) -> LabelKey | None:
    """What a label says is numbered, and the number; None when it has no number."""
    word = re.search(rf"(?<![A-Za-z])(?:{_FIGURE_WORD})(?![A-Za-z])\.?", label, re.IGNORECASE)
    if word is not None:
        before = label[: word.start()]
        series = _base(FIGURE, before)
        if series == (FIGURE, "") and (others := re.findall(r"\w+", re.sub(r"\(.*?\)", "", before.lower()))):
            series = " ".join([*others, FIGURE]), ""
        found = next(_items(label, word.end(), *series, True), None)
        return found[0] if found else None
    numbered = _NUMBERED.search(label)
    if numbered is None or (numbered["roman"] and not numbered["head"]):
        return None
    base, prefix = _base((numbered["head"] or FIGURE).lower(), label[: numbered.start()])
    if numbered["roman"]:
        return base, "roman", _roman(numbered["roman"])
    supplement = _SUPPLEMENT.match(label, numbered.end())
    return _key(base, prefix, numbered) if supplement is None else _supplement(base, prefix, numbered, supplement)


def leading_key(caption: str) -> LabelKey | None:
    """The key of a label that a caption begins with: "Fig. 3. Axial CT."."""
    return label_key(caption[:_REACH]) if re.match(rf"(?:{_FIGURE_WORD})\b", caption, re.IGNORECASE) else None


def head_of(key: LabelKey) -> str:
    """The word that a label's number follows."""
    words = [word for word in key[0].split() if not word.isdigit()]
    return FIGURE if FIGURE in words else words[-1]


def spellings(labels: Collection[str], keys: Collection[LabelKey]) -> dict[str, str]:
    """How texts write the words that the labels of an article number, each with the word."""
    heads = sorted({head_of(key) for key in keys})
    spelled = {one: head for head in heads for one in (head.capitalize(), head)}
    text = " ".join(labels)
    spelled |= {head.upper(): head for head in heads if head.upper() in text}
    return spelled | ({"Abb": FIGURE} if "Abb" in text else {})


def cited_labels(text: str, spelled: Mapping[str, str] = FIGURES) -> Iterator[tuple[LabelKey, str, bool]]:
    """Labels that a text names in words, ranges spelled out.

    Args:
        text: a paragraph, or the words of a cross reference.
        spelled: what is numbered in the article (see `spellings`).
    Yields:
        The label, the words that name it, and whether it lies in a range, its end included.
    """
    for at, head in figure_words(text, spelled):
        yield from cited_at(text, at, head)


def figure_words(text: str, spelled: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Where a text may name a figure, and by which of the words."""
    for word, head in spelled.items():
        at = text.find(word)
        while at >= 0:
            yield at, head
            at = text.find(word, at + 1)


def cited_at(text: str, at: int, head: str) -> Iterator[tuple[LabelKey, str, bool]]:
    """Labels that a text names from this place on (see `cited_labels`)."""
    word = _word(head).match(text, at)
    if word is None:
        return
    before = text[max(0, at - _REACH) : at]
    if before[-1:].isalpha() or _ELSEWHERE_BEFORE.search(before) or (head != FIGURE and _OF_A_NUMBER.search(before)):
        return
    is_plural = word[0].rstrip(". ").lower().endswith(("s", "en"))
    found = list(_items(text, word.end(), *_base(head, before), is_plural))
    if found and not _ELSEWHERE_AFTER.match(text, found[-1][2]):
        words = text[at : found[-1][2]].strip()
        yield from ((key, words, is_range) for key, is_range, _ in found)


def listed_labels(words: str, key: LabelKey) -> Iterator[tuple[LabelKey, bool]]:
    """Labels of the same series as `key` that the words of a cross reference list: "1-4", "S1 and S2"."""
    for found, is_range, _ in _items(words, 0, key[0], key[1], True):
        yield found, is_range


@lru_cache(maxsize=256)
def _word(head: str) -> re.Pattern[str]:
    words = _FIGURE_WORD if head == FIGURE else re.escape(head) + "s?"
    return re.compile(rf"(?:{words})\.?\s*(?=[\dA-Z(]|[a-z]\d)", re.IGNORECASE)


def _items(text: str, at: int, base: str, prefix: str, is_plural: bool) -> Iterator[tuple[LabelKey, bool, int]]:
    """The numbers of a list, each with whether it lies in a range, and where it ends."""
    last: LabelKey | None = None
    is_range = False
    roman = _ROMAN.match(text, at)
    if roman is not None:
        yield (base, "roman", _roman(roman[1])), False, roman.end()
        return
    while (item := _ITEM.match(text, at)) is not None:
        if last is not None and not is_plural and not item["panels"] and not _LIST_END.match(text, item.end()):
            return
        if item["prefix"] and _NOT_A_FIGURE.match(text, item.end()):
            return
        supplement = _SUPPLEMENT.match(text, item.end())
        if supplement is not None:
            yield _supplement(base, prefix, item, supplement), False, supplement.end()
            return
        key = _key(base, prefix, item)
        at = item.end()
        if is_range and last is not None and last[:2] == key[:2] and last[2] < key[2] <= last[2] + MAX_RANGE:
            yield from (((*key[:2], number), True, at) for number in range(last[2] + 1, key[2] + 1))
        else:
            yield key, False, at
        last, prefix = key, key[1]
        link = _LINK.match(text, at)
        if link is None or not link[0].strip():
            return
        is_range, at = link["range"] is not None, link.end()


def _base(head: str, before: str) -> tuple[str, str]:
    """What is numbered, with the series that the words before it name, and the letters that its numbers have."""
    qualifier = _QUALIFIER.search(before) if before else None
    if qualifier is None:
        return head, ""
    named = qualifier[1].lower().replace("-", " ").strip(". ")
    return (head, "s") if named[:4] in {"e", "supp"} else (f"{named} {head}", "")


def _key(base: str, prefix: str, item: re.Match[str]) -> LabelKey:
    *majors, number = f"{item['number']}{item['minor']}".split(".")
    return " ".join([base, *majors]), (item["prefix"] or prefix).strip(".-").lower(), int(number)


def _supplement(base: str, prefix: str, item: re.Match[str], supplement: re.Match[str]) -> LabelKey:
    what = " ".join(supplement[1].lower().split())
    return f"{base} {item['number']} {what}", prefix, int(supplement[2])


def _roman(numeral: str) -> int:
    values = ["IVX".index(letter) for letter in numeral]
    values = [(1, 5, 10)[value] for value in values]
    return sum(-value if value < max(values[place:]) else value for place, value in enumerate(values))
