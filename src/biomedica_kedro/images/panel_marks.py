"""Places in a caption that may name panels: "(A)", "B)", "C: ", "D. ", "(E–G, arrow)", "Panels H and I show".

Each place gets a strength, since "vitamin C." looks like a mark as well; which marks count is decided where all of them
are seen together (`sub_captions`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase

Family = Mapping[str, int]  # the labels of a kind -> their places in its order


def _family(labels: Iterable[str]) -> Family:
    return {label: place for place, label in enumerate(labels)}


_ROMAN = "i ii iii iv v vi vii viii ix x xi xii"
LETTERS = (_family(ascii_uppercase), _family(ascii_lowercase))
ROMAN = (_family(_ROMAN.split()), _family(_ROMAN.upper().split()))


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that names panels.

    Attributes:
        start: of the mark in the caption.
        end: first character after the mark.
        labels: as written, ranges spelled out, without the figure's number.
        leads: whether the mark stands before its words.
        strength: 2 for what is set like a mark, 1 for what opens a sentence, 0 for what may be a word.
    """

    start: int
    end: int
    labels: tuple[str, ...]
    leads: bool
    strength: int


def find_marks(caption: str) -> list[Mark]:
    """Marks of all families in order of their places."""
    marks: list[Mark] = []
    pieces: list[str] = []
    last = 0
    for match in _BRACKET.finditer(caption):
        start, end = match.span()
        if _LISTED.search(match[1]) or not _is_set_off(caption, start, end):
            continue
        pieces += caption[last : start + 1], " " * (end - start - 2)
        last = end - 1
        found = _OPENING.match(match[1]) or _CLOSING.search(match[1])
        if found and (labels := _spelled_out(found[1])):
            marks.append(Mark(start, end, labels, _leads(caption, start, end), 2))
    outside = "".join([*pieces, caption[last:]])
    marks += _bare_marks(outside)
    marks += (Mark(match.start(), match.end(), (match[1],), True, 2) for match in _GLUED.finditer(outside))
    return sorted(marks, key=lambda mark: mark.start)


def find_numbers(caption: str) -> list[Mark]:
    """Plain numbers in sequence, each before a word with a capital: "6 Seventh sternum 7 Eighth sternum"."""
    marks: list[Mark] = []
    for match in _NUMBER.finditer(caption):
        if not marks or int(match[1]) == int(marks[-1].labels[0]) + 1:
            marks.append(Mark(match.start(), match.end(), (match[1],), leads=True, strength=0))
    return marks


def base_of(label: str) -> str:
    """The label that a label of two signs belongs to: "B" of "B1"; other labels themselves."""
    return label[0] if len(label) > 1 and label[0].isalpha() and not label[1].isalpha() else label


_PLACE = (
    "(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re|ral)|first|second|third|last|rows?|columns?|insets?"
    "|arrows?)"
)
_CALL = rf"(?:(?:panels?|images?|parts?|figs?|figures?|see|in|and|{_PLACE})(?:,?\s+|\.\s*))"
_LABEL = r"(?:[IVX]{2,4}|[ivx]{2,4}|\d{0,2}[A-Z]\d{0,2}['′]?|\d?[a-z]\d{0,2}['′]?)(?![A-Za-z0-9])"
_JOIN = r"\s*(?:,\s*(?:and\b|or\b|&)?|;|/|&|\+|and\b|or\b|to\b|through\b|[-–—−‐~∼])\s*"
_LIST = rf"{_LABEL}(?:{_JOIN}{_LABEL})*"
_BRACKET = re.compile(r"[(\[]([^()\[\]]{1,90})[)\]]")
_OPENING = re.compile(rf"\s*(?i:{_CALL}*)({_LIST})\s*(?:$|[,;:.](?=\s|$)|\s(?:{_PLACE}\b|panels?\b))")
_CLOSING = re.compile(rf"(?:[;,:]\s*(?i:{_CALL}*)|\s(?i:{_CALL}+))({_LIST})\s*$")
_LISTED = re.compile(rf"[;,.]\s*(?:and\s+)?{_LIST}:\s")
_SHORT = re.compile(r"\b(?!a (?!and |or |to )[a-z])(?:[A-Za-z]\d{0,2}|\d{1,2}[A-Za-z]|[ivx]{2,4}|[IVX]{2,4})\b")
_BARE = re.compile(rf"({_LIST})(?=([.,:;)]|\s|$))")
_GLUED = re.compile(r"([A-Z])\)(?<=[a-z]..)(?=\s*[A-Z])")
_NUMBER = re.compile(r"(?<![^\s.;:,)])(\d{1,2}) (?=[A-Z][a-z])")
_PIECE = re.compile(rf"((?<![A-Za-z0-9]){_LABEL})|(to\b|through\b|[-–—−‐~∼])")
_NEVER_BEFORE = frozenset("[–—/+'′°×*-=&")
_LINKS = re.compile(
    r"\b(?:an?|and|are|as|at|between|both|by|for|from|in|is|of|on|or|showing|shows|than|that|the|to|versus|via|vs|was|were"
    r"|with|without)$",
    re.IGNORECASE,
)


def _bare_marks(caption: str) -> Iterator[Mark]:
    """Marks without brackets around them, in a caption whose brackets are blank."""
    last = 0
    for short in _SHORT.finditer(caption):
        start = short.start()
        if start < last or (start and caption[start - 1] in _NEVER_BEFORE):
            continue
        if not (match := _BARE.match(caption, start)):
            continue
        last = match.end()
        labels = _spelled_out(match[1])
        if labels and (strength := _strength(caption, match, len(labels))) >= 0:
            yield Mark(start, last + (match[2] in _PUNCTUATION), labels, leads=True, strength=strength)


_PUNCTUATION = frozenset(".,:;)")


def _strength(caption: str, match: re.Match[str], n_labels: int) -> int:
    """Of a mark without brackets, from what stands around it; -1 where it is none."""
    before = caption[max(0, match.start() - 12) : match.start()].rstrip()
    punctuation = match[2] if match[2] in _PUNCTUATION else ""
    rest = caption[match.end() + len(punctuation) : match.end() + 12].lstrip()
    opens = not before or before[-1] in ".;:)"
    is_capital = match[1].lstrip("0123456789")[0].isupper()
    if not rest or before.endswith(("igure", "igures", "ig.", "igs.")):
        return -1
    if before[-1:] == "(" and punctuation != ":":
        return -1 if is_capital or punctuation else 0
    if punctuation == ";":
        return 2 if opens and n_labels > 1 else 0 if opens and is_capital else -1
    if before.endswith(("anel", "anels")) or punctuation == ":":
        return 2
    if punctuation == ")":
        return 2 if caption.count("(", 0, match.start()) <= caption.count(")", 0, match.start()) else -1
    if punctuation == "." and caption[match.end() + 1].isdigit():
        return -1
    if punctuation:
        starts_lower = punctuation == "." and rest[0].islower() and n_labels == 1
        return 2 if opens and not starts_lower else 0 if is_capital or rest[0].isupper() else -1
    if opens and not rest[0].islower():
        return 1
    return 0 if is_capital or n_labels > 1 or before[-1:] == "," else -1


def _is_set_off(caption: str, start: int, end: int) -> bool:
    """Whether brackets are not part of a word, "Hs832(c)T"; a missing space after the mark of a sentence is none."""
    return not caption[end : end + 1].isalnum() or caption[max(0, start - 3) : start].rstrip()[-1:] in (
        "",
        ".",
        ";",
        ":",
    )


def _leads(caption: str, start: int, end: int) -> bool:
    """Whether a mark in brackets stands before its words: "by (A) blot", ". (A) Blot", not "blot (A) and"."""
    before, after = caption[max(0, start - 16) : start].rstrip(), caption[end : end + 16].lstrip()
    if not before or before[-1] in ".:;":
        return True
    if not after or after[0] in ".,;)":
        return False
    if after[0] == ":" or before[-1] == "," or _LINKS.search(before):
        return True
    return not after[0].islower()


def _spelled_out(written: str) -> tuple[str, ...]:
    """Labels of a list with its ranges spelled out; nothing unless they are in order, as "H&E" is not."""
    if len(written) == 1:
        return (written,)
    labels: list[str] = []
    is_range = False
    for written_label, to in _PIECE.findall(written):
        if to:
            is_range = True
            continue
        label = written_label.lstrip("0123456789")
        between = _between(labels[-1], label) if is_range and labels else [label]
        if not between:
            return ()
        labels += between[1:] if is_range and labels else between
        is_range = False
    if labels and labels[0].isupper():
        labels = [label.upper() for label in labels]  # "(C, d, and e)"
    same_case = len({label[0].isupper() for label in labels}) == 1
    in_order = all(a < b or len(b) > 1 for a, b in pairwise(labels))
    return tuple(labels) if same_case and in_order and len(set(labels)) == len(labels) else ()


def _between(first: str, last: str) -> list[str]:
    """Both ends and all between them; nothing where the ends do not go together."""
    for family in (*LETTERS, *ROMAN):
        if family.get(first, 99) < family.get(last, -1):
            return list(family)[family[first] : family[last] + 1]
    if first[0] == last[0] and first[1:].isdigit() and last[1:].isdigit():
        return [f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1)]
    return []
