"""Figure labels and how texts refer to them: "Figure 2", "Fig. S1", "Figs 1, 3 and 5-7", "Figura 3", "Image 1".

Series are kept apart: "Extended Data Fig. 1", "Supplementary Fig. 1" and "Web Fig. 1" are not Figure 1, nor is a figure
of another work ("Fig. 2 of ref. 12") or of an additional file, nor "Fig. 1.2".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator, Mapping
from functools import lru_cache

LabelKey = tuple[str, str, int]
"""What is numbered, the letters before the number, the number: ("fig", "", 2), ("fig", "s", 1), ("image", "", 1)."""

FIGURE = "fig"
FIGURES = {"Fig": FIGURE, "fig": FIGURE, "FIG": FIGURE, "Abb": FIGURE}
MAX_RANGE = 30
DIGITS = frozenset("0123456789")
_INITIALS = DIGITS | frozenset("abcdefghijklmnopqrstuvwxyz")

_FIGURE_WORD = r"fig(?:ure|ura)?s?|abb(?:ildung(?:en)?)?"
_NUMBER = r"(?P<prefix>[A-Za-z]{1,2}[.-]?)?(?P<number>\d+)(?P<minor>(?:\.\d+)*)"
_PANEL = r"(?:\([A-Za-z]\)|[A-Za-z])['′]?(?![A-Za-z0-9])"
_ITEM = re.compile(
    rf"\s*{_NUMBER}(?P<panels>(?:{_PANEL}|\s(?:\([A-Za-z]\)|[A-Z])(?!\w))?(?:\s?(?:,|&|and|[–—‒−-]|to)\s?{_PANEL})*)(?![\w%])"
)
_ROMAN = re.compile(r"\s*(?P<prefix>)(?P<roman>[IVX]{1,5})(?P<panels>)(?![A-Za-z0-9])")
# "Figs. 1 (left) and 2 (right)" goes on.
_SIDE = r"(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re)|inset)"
_LINK = re.compile(
    rf"(?:,?\s*\(?{_SIDE}(?:\s{_SIDE})?(?:\spanels?)?\b\)?)?\s*"
    rf"(?:(?P<range>(?P<plain>[–—‒−‐‑-]|(?:through|thru|até|bis)\s(?i:\s*(?:{_FIGURE_WORD})\.?\s)?)|(?:to|a|al|à)\s)"
    r"|[,;/&]?\s*(?:(?:and|or|et|y|e|und)\s|&)?)\s*"
)
# What follows the last number of a list after a singular ("Fig. 1, 2"), unlike "Fig. 1, 2 mice" and "Fig. 1 to 2 mice".
_LIST_END = re.compile(r"\s*(?:[).,;:\]]|$|(?:and|or)\s|[&–-])|\s(?:show|depict|demonstrat|illustrat|present|summari)")
_SUPPLEMENT = re.compile(r"\s*[—–-]\s*((?:figure|table)\s+supplement|video|movie|source (?:data|code))s?\s+(\d+)", re.I)
_NOT_A_FIGURE = re.compile(r"\s(?:Table|Text|File|Movie|Video|Data|Appendix)")
# What is said directly before, in lower case: the series, or that the figure is of another work or file.
_BEFORE = re.compile(
    r"(?P<series>e(?<!\we)-|supp\w*\.?(?: (?:information|materials?|data))?|(?:extended|source)[- ]data"
    r"|expanded[- ]view|author response|(?:appendix|annex|box)(?: \w{1,2})?|\b(?:ed|si|esi|esm|additional)(?=\s*$)"
    r"|\b(?:web|on-?line|internet|electronic)(?:[ -](?:only|extra))?(?: resource)?(?=\s*$))"
    r"[\s,:—–-]*$"
    r"|(?P<other>(?:additional file|online resource)s?\s*\w*(?:\s*(?:,|and|&)\s*\w?\d+)*\s*[:,;(–-]?"
    r"|their|whose|h(?<!\wh)(?:is|er)"
    r"|et al\.?,?\s*\(?\d{4}[a-z]?\)?\s*[,:;]|r(?<!\wr)ef(?:s|erences?)?\.?\s*\[?\d+\]?\s*[,:;]?|\[\d+\s*[,:;])\s*$"
    r"|\d\s*[—–-]\s*$"  # "Figure 1—video 2", unlike "1–Figure 2"
)
_ELSEWHERE_AFTER = re.compile(
    r"\s*,?\s*(?:of|in|from)\s+(?:the\s+)?(?:(?i:(?:(?:on-?line|web|electronic)[ -](?:only )?)?(?:supp|appendix)"
    r"|refs?\b|reference|\[\d|additional|their|his|her"
    r"|(?:an)?other|accompanying|companion|(?:paper|article|study|work|review|report) (?:by|of)\b)"
    r"|S\d+ (?:File|Text|Appendix|Fig)|[A-Z][\w'’-]+(?:,? (?:and|&) [A-Z][\w'’-]+)?,? (?:et al|[(\[]?\d{4}|\[\d))"
)
_IN_A_LABEL = re.compile(rf"(?<![A-Za-z])(?:{_FIGURE_WORD})(?![A-Za-z])\.?", re.IGNORECASE)
_NUMBERED = re.compile(rf"(?:(?<![^\W\d_])(?P<head>[^\W\d_]{{2,}}?)s?[\s.:]*)??(?:{_NUMBER}|(?P<roman>[IVX]+)\b)")
_SUPPLEMENTS = {"e", "supp", "si", "esi", "esm"}
_REACH = 40  # characters before a figure word that may say whose figure it is


@lru_cache(maxsize=4096)
def label_key(label: str) -> LabelKey | None:
    """What a label says is numbered, and the number; None when it has no number."""
    word = _IN_A_LABEL.search(label)
    if word is not None:
        before = label[: word.start()]
        series = _base(FIGURE, _said_before(label, word.start()))
        if series == (FIGURE, "") and (others := re.findall(r"\w+", re.sub(r"\(.*?\)", "", before.lower()))):
            series = " ".join([*others, FIGURE]), ""
        found = next(_items(label, word.end(), *series, True), None)
        return found[0] if found else None
    numbered = _NUMBERED.search(label)
    if numbered is None or (numbered["roman"] and not numbered["head"]):
        return None
    base, prefix = _base((numbered["head"] or FIGURE).lower(), _said_before(label, numbered.start()))
    if numbered["roman"]:
        return base, "roman", _roman(numbered["roman"])
    supplement = _SUPPLEMENT.match(label, numbered.end())
    return _key(base, prefix, numbered) if supplement is None else _supplement(base, prefix, numbered, supplement)


def leading_key(caption: str) -> LabelKey | None:
    """The key of a label that a caption begins with: "Fig. 3. Axial CT."."""
    return label_key(caption[:_REACH]) if _IN_A_LABEL.match(caption) else None


@lru_cache(maxsize=4096)
def head_of(key: LabelKey) -> str:
    """The word that a label's number follows."""
    words = [word for word in key[0].split() if not word.isdigit()]
    return FIGURE if FIGURE in words else words[-1]


def spellings(labels: Collection[str], keys: Collection[LabelKey]) -> dict[str, str]:
    """How texts write the words that the labels of an article number, each with the word."""
    heads = sorted({head_of(key) for key in keys})
    spelled = {one: head for head in heads for one in (head.capitalize(), head)}
    # Each spelling costs a look at all of the text.
    rare = {head.upper(): head for head in heads} | {"Abb": FIGURE}
    written = " ".join([*labels, "FIG" if FIGURE in heads else ""])
    return spelled | {one: head for one, head in rare.items() if one in written}


def cited_labels(text: str, spelled: Mapping[str, str] = FIGURES) -> Iterator[tuple[LabelKey, str, bool]]:
    """Labels that a text names in words, ranges spelled out.

    Args:
        text: a paragraph, or the words of a cross reference.
        spelled: what is numbered in the article (see `spellings`).
    Yields:
        The label, the words that name it, and whether it lies in a range, its end included.
    """
    for word, head in figure_words(text, spelled):
        yield from labels_after(word, head)


def figure_words(
    text: str, spelled: Mapping[str, str], initials: Container[str] = _INITIALS
) -> Iterator[tuple[re.Match[str], str]]:
    """Where a text names a figure by one of the words, each with what it numbers.

    Args:
        text: as of `cited_labels`.
        spelled: as of `cited_labels`.
        initials: what the numbers asked for begin with, in lower case.
    """
    for word, head in spelled.items():
        at = text.find(word)
        while at >= 0:
            found = _word(head).match(text, at)
            if found is not None and found["initial"].lower() in initials and not text[at - 1 : at].isalpha():
                yield found, head
            at = text.find(word, at + 1)


def labels_after(word: re.Match[str], head: str) -> Iterator[tuple[LabelKey, str, bool]]:
    """Labels that a text names from a word on that `figure_words` found (see `cited_labels`)."""
    text, at = word.string, word.start()
    aside = _said_before(text, at)
    if aside is not None and not aside["series"] and (aside["other"] or head != FIGURE):
        return
    is_plural = word["word"].lower().endswith(("s", "en"))
    found = list(_items(text, word.start("initial"), *_base(head, aside), is_plural))
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
    number = r"(?:no\.?\s*(?=\d)|[#№]\s*|\((?=\d+\s?[a-z]?\))|\[(?=\d+[a-z]?\]))?(?P<initial>[\dA-Z])"
    return re.compile(rf"(?P<word>{words})\.?\s*{number}", re.IGNORECASE)


def _items(text: str, at: int, base: str, prefix: str, is_plural: bool) -> Iterator[tuple[LabelKey, bool, int]]:
    """The numbers of a list, each with whether it lies in a range, and where it ends."""
    last: LabelKey | None = None
    is_range, is_certain = False, True
    while (item := _ROMAN.match(text, at) or _ITEM.match(text, at)) is not None:
        if not is_certain and (item.re is _ROMAN or not (item["panels"] or _LIST_END.match(text, item.end()))):
            return
        if item["prefix"] and _NOT_A_FIGURE.match(text, item.end()):
            return
        supplement = _SUPPLEMENT.match(text, item.end())
        if supplement is not None:
            yield _supplement(base, prefix, item, supplement), False, supplement.end()
            return
        key = (base, "roman", _roman(item[2])) if item.re is _ROMAN else _key(base, prefix, item)
        at = item.end()
        if is_range and last is not None and last[:2] == key[:2] and last[2] < key[2] <= last[2] + MAX_RANGE:
            yield from (((*key[:2], number), True, at) for number in range(last[2] + 1, key[2] + 1))
        else:
            yield key, False, at
        prefix = prefix if last or item.re is _ROMAN else key[1]
        last = key
        link = _LINK.match(text, at)
        if link is None or not link[0].strip():
            return
        is_range, at = link["range"] is not None, link.end()
        is_certain = is_plural or link["plain"] is not None


def _said_before(text: str, at: int) -> re.Match[str] | None:
    return _BEFORE.search(text[max(0, at - _REACH) : at].lower())


def _base(head: str, before: re.Match[str] | None) -> tuple[str, str]:
    """What is numbered, with the series said before it, and the letters that its numbers have."""
    if before is None or not before["series"]:
        return head, ""
    named = before["series"].replace("-", " ").strip(". ")
    series = "extended data" if named == "ed" else named
    return (head, "s") if named[:4] in _SUPPLEMENTS else (f"{series} {head}", "")


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
