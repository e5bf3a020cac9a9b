"""Where the text refers to each figure: by its id, by its group's, inside a range, or by its label in words.

An `<xref>` counts wherever it stands and whatever its `@ref-type`. References inside captions are kept apart. Words
count where markup is missing: an `<xref>` without a target, or a paragraph that names a figure and has no `<xref>` to
it; these mentions come last.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from lxml import etree

from biomedica_kedro.jats.figures import FigureSet
from biomedica_kedro.jats.labels import (
    MAX_RANGE,
    LabelKey,
    cited_at,
    cited_labels,
    figure_words,
    label_key,
    leading_key,
    listed_labels,
    spellings,
)
from biomedica_kedro.jats.model import Figure, Kind, Mention, Via
from biomedica_kedro.jats.places import Place
from biomedica_kedro.jats.scan import Scan
from biomedica_kedro.jats.tree import text_of

_DASH = re.compile(r"\s*[A-Za-z]?\s*(?:[–—‒−‐‑-]|(?<=\s)(?:through|thru|bis)(?=\s))\s*", re.IGNORECASE)
# Before a word ("Fig. 1 to Fig. 3") it compares.
_TO = re.compile(r"\s*[A-Za-z]?\s+(?:to|a|até|al|à)\s+", re.IGNORECASE)
_TWO_NUMBERS = re.compile(r"\d\D+\d")
_GOES_ON = re.compile(r"\s?[A-Za-z]?\s?(?:,|;|/|&|and|or|to|[–—‒−-])\s?(?:and\s)?[A-Za-z]?\d")
_PANELS = re.compile(r"[A-Za-z](?:\s?[,–-]\s?[A-Za-z])*(?![A-Za-z0-9])")
_FIGURE_REFERENCES = {"fig", "figure", "scheme", "chart", "plate"}
_INLINE = {"bold", "italic", "sup", "sub", "xref", "named-content", "styled-content", "underline", "sc", "ext-link"}
_LABELLED = {Kind.FIGURE, Kind.SCHEME, Kind.CHART, Kind.PLATE, Kind.VIDEO}


def find_mentions(scan: Scan, found: FigureSet) -> None:
    """Fill in `mentions` and `caption_mentions` of the figures of an article."""
    if found.figures:
        _Finder(scan, found).run()


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
        self.told: Counter[int | None] = Counter()
        self.listing: set[int | None] = set()
        self.spelled = spellings([f.label for f in found.figures], {key for _, key in self.by_label})

    def run(self) -> None:
        """Look at every cross reference, then at words for what none of them cites."""
        previous: tuple[etree._Element, list[Figure]] | None = None
        for xref, rid, words, scope, paragraph in self.scan.walk.xrefs(self.targets, _FIGURE_REFERENCES):
            place = self.scan.places[scope]
            hits = self._targets_of(xref, rid, words, place.sub_article)
            if not hits:
                continue
            figures = [figure for figure, _ in hits]
            if self.keys[figures[0].figure_id] is not None:
                implied = self._implied(previous, xref, words, figures)
                hits = [*hits, *implied]
            self._record(hits, xref, words, place, paragraph)
            previous = (xref, figures)
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

    def _implied(
        self,
        previous: tuple[etree._Element, list[Figure]] | None,
        xref: etree._Element,
        words: str,
        figures: list[Figure],
    ) -> Iterator[tuple[Figure, Via]]:
        """Figures that a reference names too, "<Figs 1, 2>", and those between two, "Figs <1>-<4>"."""
        key = self.keys[figures[0].figure_id]
        if key is None:
            return
        sub_article = figures[0].sub_article_id
        named = dict(self._named(words, key)) if _TWO_NUMBERS.search(words) else {}
        if key not in named:
            named = {}
        if len(named) < 2 and previous is not None and _is_range(previous[0], xref, words):
            start = self.keys[previous[1][-1].figure_id]
            if start is not None and start[:2] == key[:2] and key[2] - start[2] <= MAX_RANGE:
                named |= dict.fromkeys(((*key[:2], number) for number in range(start[2] + 1, key[2])), True)
        cited = {id(figure) for figure in figures}
        for other, is_range in named.items():
            for figure in self.by_label.get((sub_article, other), ()):
                if id(figure) not in cited and other != key:
                    yield figure, Via.RANGE if is_range else Via.TEXT

    def _record(
        self, hits: list[tuple[Figure, Via]], xref: etree._Element, words: str, place: Place, paragraph: int | None
    ) -> None:
        text = _text_around(xref) if paragraph is None else self.scan.paragraph_text(paragraph)
        tail = xref.tail
        if "ig" in words or "ig" in _before(xref):
            self.told[paragraph] += 1
        if tail and _GOES_ON.match(tail):
            self.listing.add(paragraph)
        if tail and words[-1:].isdigit() and tail[0].isalpha() and (panels := _PANELS.match(tail)):
            words += panels[0]
        for figure, via in hits:
            mention = Mention(paragraph, place.section, text, words, via)
            (figure.caption_mentions if place.is_caption else figure.mentions).append(mention)

    def _search_words(self) -> None:
        """Add the paragraphs that name a figure, and hold no reference to it."""
        sub_articles = {sub_article for sub_article, _ in self.by_label}
        paragraphs = [(index, place) for index, place in self.scan.paragraphs if place.sub_article in sub_articles]
        if not paragraphs:
            return
        texts = [self.scan.paragraph_text(index) for index, _ in paragraphs]
        # All at once, since most paragraphs name none.
        text = "\0".join(texts)
        starts = list(accumulate((len(one) + 1 for one in texts), initial=0))
        words_of: dict[int, list[tuple[int, str]]] = {}
        for at, head in figure_words(text, self.spelled):
            words_of.setdefault(bisect_right(starts, at) - 1, []).append((at, head))
        for number, words in words_of.items():
            index, place = paragraphs[number]
            if len(words) <= self.told[index] and index not in self.listing:
                continue
            for at, head in words:
                for key, cited, _ in cited_at(text, at, head):
                    for figure in self.by_label.get((place.sub_article, key), ()):
                        if all(mention.paragraph_index != index for mention in figure.mentions):
                            figure.mentions.append(Mention(index, place.section, texts[number], cited, Via.TEXT))


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


def _is_range(first: etree._Element, second: etree._Element, words: str) -> bool:
    """Whether the figures between two are meant: "<1>-<4>", "<Figs 1> to <4>", but not "<Fig. 1> to <Fig. 4>"."""
    if second.getprevious() is not first:
        return False
    between = first.tail or ""
    return _DASH.fullmatch(between) is not None or (
        _TO.fullmatch(between) is not None and next(cited_labels(words), None) is None
    )


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
