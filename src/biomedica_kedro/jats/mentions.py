"""Where the text refers to each figure: by its id, by its group's, inside a range, or by its label in words.

An `<xref>` counts wherever it stands and whatever its `@ref-type`. References inside captions are kept apart. Words
count only where markup is missing: an `<xref>` without a target, or a figure that no `<xref>` cites at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from biomedica_kedro.jats.figures import FigureSet
from biomedica_kedro.jats.labels import MAX_RANGE, LabelKey, cited_labels, label_key, range_in
from biomedica_kedro.jats.model import Figure, Kind, Mention, Via
from biomedica_kedro.jats.places import Place
from biomedica_kedro.jats.scan import Scan
from biomedica_kedro.jats.tree import text_of

_DASH = re.compile(r"\s*[A-Za-z]?\s*(?:[–—‒−-]|(?<=\s)(?:to|through|thru|a|até|al|à|bis)(?=\s))\s*", re.IGNORECASE)
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
        self.keys = {f.figure_id: label_key(f.label) if f.kind in _LABELLED else None for f in found.figures}
        self.by_label: dict[tuple[str | None, LabelKey], Figure] = {}
        for figure in found.figures:
            key = self.keys[figure.figure_id]
            if key is not None:
                self.by_label.setdefault((figure.sub_article_id, key), figure)

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
                hits = [*hits, *((figure, Via.RANGE) for figure in implied)]
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
        keys = dict.fromkeys(key for key, _ in cited_labels(words))
        return [(figure, Via.TEXT) for key in keys if (figure := self.by_label.get((sub_article, key))) is not None]

    def _implied(
        self,
        previous: tuple[etree._Element, list[Figure]] | None,
        xref: etree._Element,
        words: str,
        figures: list[Figure],
    ) -> Iterator[Figure]:
        """Figures between the ends of a range, "Figs <1>-<4>" or "<Figs 1-4>", that are not cited themselves."""
        key = self.keys[figures[0].figure_id]
        ends = range_in(words)
        if ends is not None and key is not None and ends[0] <= key[1] <= ends[1]:
            first, last = ends
        elif previous is not None and key is not None and _is_range(previous[0], xref):
            start = self.keys[previous[1][-1].figure_id]
            if start is None or start[0] != key[0]:
                return
            first, last = start[1] + 1, key[1] - 1
        else:
            return
        if last - first > MAX_RANGE:
            return
        cited = {id(figure) for figure in figures}
        for number in range(first, last + 1):
            figure = self.by_label.get((figures[0].sub_article_id, (key[0], number)))
            if figure is not None and id(figure) not in cited:
                yield figure

    def _record(
        self, hits: list[tuple[Figure, Via]], xref: etree._Element, words: str, place: Place, paragraph: int | None
    ) -> None:
        text = _text_around(xref) if paragraph is None else self.scan.paragraph_text(paragraph)
        tail = xref.tail
        if tail and words[-1:].isdigit() and tail[0].isalpha() and (panels := _PANELS.match(tail)):
            words += panels[0]
        for figure, via in hits:
            mention = Mention(paragraph, place.section, text, words, via)
            (figure.caption_mentions if place.is_caption else figure.mentions).append(mention)

    def _search_words(self) -> None:
        """Cite by label the figures that no cross reference cites."""
        uncited = {
            (sub_article, key): figure
            for (sub_article, key), figure in self.by_label.items()
            if not figure.mentions and figure.translation_of is None
        }
        if not uncited:
            return
        sub_articles = {sub_article for sub_article, _ in uncited}
        words = {series.partition(" ")[0] for _, (series, _) in uncited}
        for index, place in self.scan.paragraphs:
            if place.sub_article not in sub_articles:
                continue
            text = self.scan.paragraph_text(index)
            if not any(word in text.lower() for word in words):
                continue
            for key, cited in dict(cited_labels(text)).items():
                figure = uncited.get((place.sub_article, key))
                if figure is not None:
                    figure.mentions.append(Mention(index, place.section, text, cited, Via.TEXT))


def _within(sub_article: str | None, hits: list[tuple[Figure, Via]]) -> list[tuple[Figure, Via]]:
    """Of figures that share an id, those of the sub-article the reference stands in."""
    if len(hits) == 1 or len({figure.sub_article_id for figure, _ in hits}) <= 1:
        return hits
    return [hit for hit in hits if hit[0].sub_article_id == sub_article] or hits[:1]


def _is_range(first: etree._Element, second: etree._Element) -> bool:
    return second.getprevious() is first and _DASH.fullmatch(first.tail or "") is not None


def _text_around(xref: etree._Element) -> str:
    """What stands in for the paragraph of a reference outside of paragraphs: the title, the cell, the line."""
    element = xref
    while element.tag in _INLINE and (parent := element.getparent()) is not None:
        element = parent
    return text_of(element)
