"""Which words of a figure's caption belong to which panel.

Of the marks of a caption (`panel_marks`) those of one family count, capitals, small letters, roman numerals or plain
numbers: the family whose labels form the best run. A mark stands before its words or after them. What no mark claims,
such as a title or a closing "Scale bars: 10 µm", is shared by all panels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise

from biomedica_kedro.images.panel_marks import LETTERS, ROMAN, Family, Mark, base_of, find_marks, find_numbers


@dataclass(frozen=True, slots=True)
class SubCaption:
    """Words of a caption that belong to one panel."""

    letter: str
    text: str


@dataclass(frozen=True, slots=True)
class SplitCaption:
    """A caption taken apart.

    Attributes:
        shared: words that belong to all panels: before the first mark and after the last part.
        parts: of each panel in order of the labels; fewer than two are none.
    """

    shared: str
    parts: tuple[SubCaption, ...]

    def with_shared(self) -> SplitCaption:
        """The same with the shared words put before those of each part."""
        parts = tuple(SubCaption(part.letter, f"{self.shared} {part.text}".strip()) for part in self.parts)
        return replace(self, parts=parts)


def split_caption(caption: str) -> SplitCaption:
    """Take a caption apart at its panel labels.

    Labels count only as a run, so that "vitamin C." or "(n = 3)" start no part. Labels that share a mark share its
    words, and a label's words from several places are joined.

    Args:
        caption: plain text of the whole caption.
    """
    marks = find_marks(caption)
    readings = [_read(family, marks) for family in LETTERS]
    if not any(reading.labels for reading in readings):
        readings = [_read(family, marks, least=3) for family in ROMAN]
    if not any(reading.labels for reading in readings) and len(numbers := find_numbers(caption)) > 2:
        readings = [_Reading(tuple(mark.labels[0] for mark in numbers), tuple(numbers), 1.0)]
    best = max(readings, key=lambda reading: reading.worth)
    return _share_out(caption, best) if best.labels else SplitCaption(caption.strip(), ())


@dataclass(frozen=True, slots=True)
class _Reading:
    """Marks of one family that make a run.

    Attributes:
        labels: in order; none where there is no run.
        marks: in order of their places; each names one of the labels at least.
        worth: how likely the run names panels.
    """

    labels: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    worth: float = 0.0


def _read(family: Family, marks: Sequence[Mark], least: int = 2) -> _Reading:
    """The run of a family of letters or roman numerals, if it has `least` labels."""
    mine = [mark for mark in marks if base_of(mark.labels[0]) in family and base_of(mark.labels[-1]) in family]
    if sum(len(mark.labels) for mark in mine) < least:
        return _Reading()
    strong = [mark for mark in mine if mark.strength == 2]
    chain = _chain(family, mine)
    named = _named(family, strong)
    run = _run(_first(family, strong, named | set(chain)), named | set(chain))
    if len(run) < least:
        return _Reading()
    used = {*strong, *(chain[place] for place in run if place not in named)}
    kept = [mark for mark in mine if mark in used and any(family[base_of(label)] in run for label in mark.labels)]
    written = {label for mark in kept for label in mark.labels if family[base_of(label)] in run}
    # "B … medial (B1), lateral (B2)": parts of a panel that has a label of its own
    labels = [label for label in written if label == base_of(label) or base_of(label) not in written]
    if len(kept) == 1 and (least > 2 or len(labels[0]) > 1):
        return _Reading()
    # "A) … (a), (b), (c) … B) … (a), (b)": a family that starts anew names things within panels
    order = [family[base_of(mark.labels[0])] for mark in kept if mark.strength == 2]
    restarts = sum(later == run[0] < earlier for earlier, later in pairwise(order))
    worth = len(run) + 0.3 * sum(mark.leads for mark in kept) - 3 * restarts
    labels.sort(key=lambda label: (family[base_of(label)], len(label), label))
    return _Reading(tuple(labels), tuple(kept), max(worth, 0.1))


def _named(family: Family, strong: Sequence[Mark]) -> Set[int]:
    """Places in the family that strong marks name: by themselves, or by several marks that begin with B1."""
    labels = [label for mark in strong for label in mark.labels[:1]]
    bases = [base_of(label) for label in labels]
    several = {base for base in bases if bases.count(base) > 1 and f"{base}1" in labels}
    return {family[label] for mark in strong for label in mark.labels if label in family} | {family[b] for b in several}


def _first(family: Family, strong: Sequence[Mark], named: Set[int]) -> int:
    """Where the run begins: at the first label, or later where a part of a figure has a caption of its own."""
    if 0 in named or not strong:
        return 0
    start = family[base_of(strong[0].labels[0])]
    return start if {start, start + 1} <= named and (start == 1 or start + 2 in named) else 0


def _run(first: int, named: Set[int]) -> list[int]:
    """Places named one after the other; one may be left out where three come before it and two after."""
    run: list[int] = []
    place = first
    while place in named or (len(run) > 2 and {place + 1, place + 2} <= named):
        if place in named:
            run.append(place)
        place += 1
    return run


def _chain(family: Family, marks: Sequence[Mark]) -> dict[int, Mark]:
    """Marks that name one label after the other in order, however weak: "A segments, lateral B segments, dorsal C"."""
    chain: dict[int, Mark] = {}
    wanted = 0
    for mark in marks:
        if (place := family.get(mark.labels[0])) is None or mark.labels[-1] not in family:
            continue
        if place == wanted:
            chain.update({family[label]: mark for label in mark.labels})
            wanted = max(chain) + 1
    opened = sum(mark.strength > 0 for mark in chain.values())
    return chain if len(chain) >= 4 or opened == len(chain) or (len(chain) == 3 and opened) else {}


_SENTENCE = re.compile(r"[.;]\s+(?=[A-Z(*])|\.(?=[A-Z][a-z])")
_GENERAL = re.compile(
    r"\(?(?:scale|original|magnif|(?:low|high)(?:er)? magnif|(?:white |black )?bars?\b|error|data\b|values|results"
    r"|statistic|all\b|images?\b|note\b|abbrev|(?:\w+ )?arrow|asterisk|means?\b|\*|p\s*[<=]|n\s*=|for all|for each"
    r"|significan|representative|panels|quantif|each\b|in all|numbers|see\b|details|the scale|h&e|he\b|\d+\s*[×x*])",
    re.IGNORECASE,
)


def _share_out(caption: str, reading: _Reading) -> SplitCaption:
    """Give every stretch of words between marks to the mark before or after it, or to all."""
    words: dict[str, list[str]] = {label: [] for label in reading.labels}
    shared: list[str] = []

    def give(mark: Mark, text: str) -> None:
        for label in mark.labels:
            if label in words and (tidy := _tidy(text)):
                words[label].append(tidy)

    marks = reading.marks
    head = caption[: marks[0].start]
    if marks[0].leads:
        shared.append(head)
    else:
        cut = _last_sentence(head)
        shared.append(head[:cut])
        give(marks[0], head[cut:])
    for mark, following in pairwise(marks):
        gap = caption[mark.end : following.start]
        if following.leads:
            give(mark, gap)
            continue
        cut = _last_sentence(gap) if mark.leads else _first_sentence(gap)
        if mark.leads and not cut:
            give(mark, gap)
        give(mark, gap[:cut])
        give(following, gap[cut:])
    tail = caption[marks[-1].end :]
    cut = _own_end(tail) if marks[-1].leads else _first_sentence(tail) or len(tail)
    give(marks[-1], tail[:cut])
    shared.append(tail[cut:])
    parts = tuple(SubCaption(label, " ".join(words[label])) for label in reading.labels)
    return SplitCaption(" ".join(filter(None, (text.strip() for text in shared))), parts)


def _last_sentence(text: str) -> int:
    """Where the last sentence begins."""
    return max((match.end() for match in _SENTENCE.finditer(text)), default=0)


def _first_sentence(text: str) -> int:
    """Where the second sentence begins; 0 where there is none."""
    found = _SENTENCE.search(text)
    return found.end() if found else 0


def _own_end(text: str) -> int:
    """Where the words of the last part end and those begin that speak of the whole figure."""
    for match in _SENTENCE.finditer(text):
        if _GENERAL.match(text, match.end()):
            return match.end()
    return len(text)


def _tidy(text: str) -> str:
    tidy = text.strip(" ,.:;)\n")
    for word in (" and", " or"):
        tidy = tidy.removesuffix(word).rstrip(" ,;:")
    return tidy
