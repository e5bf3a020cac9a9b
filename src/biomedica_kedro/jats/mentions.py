"""Where the text refers to each figure: by its id, by its group's, inside a range, or by its label in words.

An `<xref>` counts wherever it stands and whatever its `@ref-type`. References inside captions are kept apart. Words
count where markup is missing: an `<xref>` without a target, or a paragraph that names a figure and has no `<xref>` to
it; these mentions come last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from biomedica_kedro.jats.figures import FigureSet
from biomedica_kedro.jats.labels import (
    DIGITS,
    MAX_RANGE,
    LabelKey,
    cited_labels,
    figure_words,
    label_key,
    labels_after,
    leading_key,
    listed_labels,
    spellings,
)
from biomedica_kedro.jats.model import Figure, Kind, Mention, Via
from biomedica_kedro.jats.places import Place
from biomedica_kedro.jats.scan import Scan
from biomedica_kedro.jats.tree import text_of

# A dash, or a word for it; "to" compares where a word follows ("Fig. 1 to Fig. 3").
_BETWEEN = re.compile(
    r"\s*[A-Za-z]?(?:\s*(?:[–—‒−‐‑-]|(?<=\s)(?:through|thru|bis)(?=\s))\s*|\s+(?P<to>to|a|até|al|à)\s+)", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+")
_GOES_ON = re.compile(r"\s?[A-Za-z]?\s?(?:,|;|/|&|and|or|to|[–—‒−-])\s?(?:and\s)?[A-Za-z]?\d")
_PANELS = re.compile(r"[A-Za-z](?:\s?[,–-]\s?[A-Za-z])*(?![A-Za-z0-9])")
_FIGURE_REFERENCES = {"fig", "figure", "scheme", "chart", "plate"}
_INLINE = {"bold", "italic", "sup", "sub", "xref", "named-content", "styled-content", "underline", "sc", "ext-link"}
_LABELLED = {Kind.FIGURE, Kind.SCHEME, Kind.CHART, Kind.PLATE, Kind.VIDEO}


def find_mentions(scan: Scan, found: FigureSet) -> None:
    """Fill in `mentions` and `caption_mentions` of the figures of an article."""
    if found.figures:
        _Finder(scan, found).run()


@dataclass(slots=True)
class _Cited:
    """A cross reference: its words, the numbers in them, the text directly behind it, and what it leads to."""

    xref: etree._Element
    words: str
    numbers: list[str]
    tail: str
    hits: list[tuple[Figure, Via]]


class _Finder:
    """The state of one article's search."""

    def __init__(self, scan: Scan, found: FigureSet) -> None:
        self.scan = scan
        self.found = found
        self.targets: dict[str, list[tuple[Figure, Via]]] = {}
        for (_, name), figures in found.by_id.items():
            self.targets.setdefault(name, []).extend((figure, Via.DIRECT) for figure in figures)
        for (_, name), figures in found.by_group.items():
            self.targets.setdefault(name, []).extend((figure, Via.GROUP) for figure in figures)
        self.keys = {f.figure_id: _key_of(f) for f in found.figures}
        self.by_label: dict[tuple[str | None, LabelKey], list[Figure]] = {}
        for figure in found.figures:
            key = self.keys[figure.figure_id]
            if key is not None and figure.translation_of is None:
                self.by_label.setdefault((figure.sub_article_id, key), []).append(figure)
        # How many figure words of a paragraph belong to references; and where a list goes on behind one.
        self.told: dict[int | None, int] = {}
        self.listing: set[int | None] = set()
        keys = {key for _, key in self.by_label}
        self.spelled = spellings([f.label for f in found.figures], keys)
        self.initials = DIGITS.union(*("ivx" if key[1] == "roman" else key[1][:1] for key in keys))

    def run(self) -> None:
        """Look at every cross reference, then at words for what none of them cites."""
        previous: _Cited | None = None
        for xref, rid, words, scope, paragraph in self.scan.walk.xrefs(self.targets, _FIGURE_REFERENCES):
            place = self.scan.places[scope]
            hits = self.targets.get(rid)
            if hits is None or len(hits) > 1:
                hits = self._targets_of(xref, rid, words, place.sub_article)
            if not hits:
                continue
            cited = _Cited(xref, words, _NUMBER.findall(words), xref.tail or "", hits)
            if len(cited.numbers) > 1 or (previous is not None and xref.getprevious() is previous.xref):
                hits = [*hits, *self._implied(previous, cited)]
            self._record(hits, cited, place, paragraph)
            previous = cited
        if self.by_label:
            self._search_words()

    def _targets_of(
        self, xref: etree._Element, rid: str, words: str, sub_article: str | None
    ) -> list[tuple[Figure, Via]]:
        hits = self.targets.get(rid)
        if hits is not None:
            return _within(sub_article, hits)
        if " " in rid.strip():
            tokens = dict.fromkeys(rid.split())
            return [hit for token in tokens for hit in _within(sub_article, self.targets.get(token, []))]
        if xref.get("ref-type") not in _FIGURE_REFERENCES:
            return []
        keys = dict.fromkeys(key for key, _ in self._named(words, ("fig", "", 0)))
        return [(figure, Via.TEXT) for key in keys for figure in self.by_label.get((sub_article, key), ())]

    def _named(self, words: str, like: LabelKey) -> list[tuple[LabelKey, bool]]:
        """Labels that the words of a cross reference name, and whether each lies in a range."""
        cited = [(key, is_range) for key, _, is_range in cited_labels(words, self.spelled)]
        return cited or list(listed_labels(words, like))

    def _implied(self, previous: _Cited | None, cited: _Cited) -> Iterator[tuple[Figure, Via]]:
        """Figures that a reference names too, "<Figs 1, 2>", and those between two, "Figs <1>-<4>"."""
        key = self.keys[cited.hits[0][0].figure_id]
        if key is None:
            return
        named = dict(self._named(cited.words, key)) if len(cited.numbers) > 1 else {}
        if key not in named:
            named = {}
        if len(named) < 2 and previous is not None and _is_range(previous, cited):
            start = self.keys[previous.hits[-1][0].figure_id]
            if start is not None and start[:2] == key[:2] and key[2] - start[2] <= MAX_RANGE:
                named |= dict.fromkeys(((*key[:2], number) for number in range(start[2] + 1, key[2])), True)
        for other, is_range in named.items():
            for figure in self.by_label.get((cited.hits[0][0].sub_article_id, other), ()):
                if other != key and all(figure is not own for own, _ in cited.hits):
                    yield figure, Via.RANGE if is_range else Via.TEXT

    def _record(self, hits: list[tuple[Figure, Via]], cited: _Cited, place: Place, paragraph: int | None) -> None:
        words, tail = cited.words, cited.tail
        text = _text_around(cited.xref) if paragraph is None else self.scan.paragraph_text(paragraph)
        if cited.numbers and ("ig" in words or "ig" in _before(cited.xref)):
            self.told[paragraph] = self.told.get(paragraph, 0) + 1
        if _GOES_ON.match(tail):
            self.listing.add(paragraph)
        if words[-1:].isdigit() and tail[:1].isalpha() and (panels := _PANELS.match(tail)):
            words += panels[0]
        for figure, via in hits:
            mention = Mention(paragraph, place.section, text, words, via)
            (figure.caption_mentions if place.is_caption else figure.mentions).append(mention)

    def _search_words(self) -> None:
        """Add the paragraphs that name a figure, and hold no reference to it."""
        others = {word: head for word, head in self.spelled.items() if "fig" not in word.lower()}
        for index, scope, text, n_figs in self.scan.paragraphs:
            if not others and (not n_figs or (n_figs <= self.told.get(index, 0) and index not in self.listing)):
                continue  # as most paragraphs
            place, told = self.scan.places[scope], self.told.get(index, 0)
            words = list(figure_words(text, self.spelled if n_figs else others, self.initials))
            if len(words) <= told and index not in self.listing:
                continue
            for key, cited, _ in (label for word, head in words for label in labels_after(word, head)):
                for figure in self.by_label.get((place.sub_article, key), ()):
                    if index not in [mention.paragraph_index for mention in figure.mentions]:
                        figure.mentions.append(Mention(index, place.section, text, cited, Via.TEXT))


def _key_of(figure: Figure) -> LabelKey | None:
    """By what number texts refer to a figure: its label's, or that its caption begins with."""
    if figure.kind not in _LABELLED:
        return None
    return label_key(figure.label) if figure.label else leading_key(figure.caption)


def _within(sub_article: str | None, hits: list[tuple[Figure, Via]]) -> list[tuple[Figure, Via]]:
    """Of figures that share an id, those of the sub-article the reference stands in."""
    if len(hits) == 1 or len({figure.sub_article_id for figure, _ in hits}) <= 1:
        return hits
    return [hit for hit in hits if hit[0].sub_article_id == sub_article] or hits[:1]


def _is_range(first: _Cited, second: _Cited) -> bool:
    """Whether the figures between two are meant: "<1>-<4>", "<Figs 1> to <4>", but not "<Fig. 1> to <Fig. 4>"."""
    if second.xref.getprevious() is not first.xref:
        return False
    between = _BETWEEN.fullmatch(first.tail)
    return between is not None and (not between["to"] or next(cited_labels(second.words), None) is None)


def _before(xref: etree._Element) -> str:
    """The end of the text directly before a reference: "Figs. "."""
    previous = xref.getprevious()
    if previous is not None:
        return (previous.tail or "")[-len("Figures. ") :]
    parent = xref.getparent()
    return "" if parent is None else (parent.text or "")[-len("Figures. ") :]


def _text_around(xref: etree._Element) -> str:
    """What stands in for the paragraph of a reference outside of paragraphs: the title, the cell, the line."""
    element = xref
    while element.tag in _INLINE and (parent := element.getparent()) is not None:
        element = parent
    return text_of(element)
