"""Plan of the corpus: which articles there are, how they are marked up and what their figures show.

A plan holds attributes and words, no pixels; writing an article needs its plan and the options alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from biomedica_corpus.captions import Caption, multi_panel_caption, single_panel_caption
from biomedica_corpus.classes import CLASSES
from biomedica_corpus.options import CorpusOptions, Stream, random_stream
from biomedica_corpus.panel import Panel, chance, pick
from biomedica_corpus.prose import JOURNALS, Journal
from biomedica_kedro.pmc.identifiers import split_of
from biomedica_kedro.records import Split

# Above every PMCID in use, so that no invented article is taken for a real one.
_FIRST_PMCID, _LAST_PMCID = 90_000_000, 99_999_999
_LICENSES = (
    ("CC BY", 0.56), ("CC0", 0.06), ("CC BY-SA", 0.03), ("CC BY-ND", 0.03), ("CC BY-NC", 0.11), ("CC BY-NC-ND", 0.1),
    ("CC BY-NC-SA", 0.03), ("TDM", 0.04), (None, 0.04),
)  # fmt: skip


class Flavor(StrEnum):
    """How an article's figures are marked up. Source: the census of PMC's JATS in docs/formats."""

    BARE = "bare"
    NAMESPACED = "namespaced"
    IN_PARAGRAPH = "in_paragraph"
    FLOATS = "floats_group"
    BOLD_XREFS = "bold_xrefs"
    GROUPED = "figure_group"
    CHILD_FIGURES = "child_figures"
    BILINGUAL = "bilingual"
    TRANSLATION = "translation"
    GRAPHICAL_ABSTRACT = "graphical_abstract"
    PARTS = "parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigurePlan:
    """One figure.

    Args:
        number: position in the article, from 1.
        figure_id: the XML id.
        label: "Figure 1".
        parts: the panels of each image file; one file as a rule.
        file_names: name of each image file.
        caption: its words.
        third_party: the figure is reprinted under terms of its own.
    """

    number: int
    figure_id: str
    label: str
    parts: tuple[tuple[Panel, ...], ...]
    file_names: tuple[str, ...]
    caption: Caption
    third_party: bool = False

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Panels of all files, in order."""
        return tuple(panel for part in self.parts for panel in part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticlePlan:
    """One article. `number` is its position in the random streams; `fault` names what is broken on purpose."""

    number: int
    article_id: str
    split: Split
    flavor: Flavor
    journal: Journal
    license_code: str | None
    publication_date: str
    figures: tuple[FigurePlan, ...]
    is_retracted: bool = False
    is_manuscript: bool = False
    fault: str | None = None

    @property
    def pmcid(self) -> str:
        """PMCID without version."""
        return self.article_id.partition(".")[0]

    @property
    def stem(self) -> str:
        """Stem of the article's file names."""
        return _file_stem(self.journal, self.number)


def plan_corpus(options: CorpusOptions) -> list[ArticlePlan]:
    """Articles for training and validation, then the held-out ones; planted faults are not among them."""
    n_validation = round(options.articles * options.validation_share)
    wanted = [Split.TRAIN] * (options.articles - n_validation) + [Split.VALIDATION] * n_validation
    wanted += [Split.TEST] * options.held_out_articles
    article_ids = draw_article_ids(options.seed, wanted)
    seen, held_out = _class_cycle(options.seed, 0), _class_cycle(options.seed, 1)
    return [
        _plan_article(options, number, article_id, split, held_out if split is Split.TEST else seen)
        for number, (article_id, split) in enumerate(zip(article_ids, wanted, strict=True))
    ]


def draw_article_ids(seed: int, wanted: Sequence[Split], *, position: int = 0) -> list[str]:
    """Distinct article ids, each in the split wanted of it."""
    rng = random_stream(seed, Stream.IDENTIFIERS, position)
    used: set[int] = set()
    found = []
    for split in wanted:
        while True:
            candidate = int(rng.integers(_FIRST_PMCID, _LAST_PMCID))
            if candidate not in used and split_of(f"PMC{candidate}") is split:
                break
        used.add(candidate)
        found.append(f"PMC{candidate}.1")
    return found


def plan_figure(
    options: CorpusOptions, article: int, number: int, classes: Sequence[type[Panel]], names: FigureNames
) -> FigurePlan:
    """Draw attributes and words of one figure with one panel of each of `classes`."""
    attributes = random_stream(options.seed, Stream.ATTRIBUTES, article, number)
    words = random_stream(options.seed, Stream.CAPTIONS, article, number)
    panels = tuple(kind.sample(attributes) for kind in classes)
    caption = single_panel_caption(panels[0], words) if len(panels) == 1 else multi_panel_caption(panels, words)
    parts = (
        (panels[: len(panels) // 2], panels[len(panels) // 2 :]) if names.in_parts and len(panels) > 1 else (panels,)
    )
    return FigurePlan(
        number=number,
        figure_id=names.figure_id(number),
        label=names.label(number),
        parts=parts,
        file_names=names.file_names(number, len(parts), attributes),
        caption=caption,
        third_party=chance(attributes, 0.02),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureNames:
    """How an article names its figures and their files."""

    stem: str
    id_style: str
    label_style: str
    in_parts: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, stem: str, *, in_parts: bool = False) -> FigureNames:
        """Pick the styles of one article."""
        ids = ("F{n}", "fig{n}", "Fig{n}", "fig-{n}", "f{n}-{stem}", "{stem}-g00{n}", "{stem}.g00{n}")
        labels = ("Figure {n}", "Fig. {n}", "FIGURE {n}", "Fig {n}", "Figure {n}.")
        return cls(stem=stem, id_style=pick(rng, ids), label_style=pick(rng, labels), in_parts=in_parts)

    def figure_id(self, number: int) -> str:
        """XML id of a figure."""
        return self.id_style.format(n=number, stem=self.stem)

    def label(self, number: int) -> str:
        """Label of a figure."""
        return self.label_style.format(n=number)

    def file_names(self, number: int, parts: int, rng: np.random.Generator) -> tuple[str, ...]:
        """Name of each of a figure's image files; the stem may hold dots."""
        extension = ("jpg", "png", "tif")[int(np.searchsorted((0.86, 0.97), rng.random()))]
        letters = "abcdef"[:parts] if parts > 1 else ("",)
        return tuple(f"{self.stem}.g{number:03d}{letter}.{extension}" for letter in letters)


def _plan_article(
    options: CorpusOptions, number: int, article_id: str, split: Split, classes: Iterator[type[Panel]]
) -> ArticlePlan:
    rng = random_stream(options.seed, Stream.CLASSES, number)
    flavor = list(Flavor)[number % len(Flavor)]
    journal = pick(rng, JOURNALS)
    names = FigureNames.draw(rng, _file_stem(journal, number), in_parts=flavor is Flavor.PARTS)
    held_out = split is Split.TEST
    count = options.held_out_figures if held_out else options.figures_per_article
    singles = [True] * count if held_out else [chance(rng, options.single_panel_share) for _ in range(count)]
    others = 3 if names.in_parts else 1  # two parts of two panels each, so that no part shows a single panel
    chosen = [_classes_of_figure(rng, classes, others=0 if single else others) for single in singles]
    if held_out:  # one more, of several panels: for telling single from multiple
        chosen.append(_classes_of_figure(rng, iter([pick(rng, CLASSES)]), others=others))
    codes, shares = zip(*_LICENSES, strict=True)
    license_code = codes[int(np.searchsorted(np.cumsum(shares), rng.random()))]
    return ArticlePlan(
        number=number,
        article_id=article_id,
        split=split,
        flavor=flavor,
        journal=journal,
        license_code=license_code,
        publication_date=f"{rng.integers(2009, 2027)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}",
        figures=tuple(plan_figure(options, number, i, kinds, names) for i, kinds in enumerate(chosen, 1)),
        is_retracted=not held_out and number % 60 == 17,
        is_manuscript=license_code == "TDM",
    )


def _classes_of_figure(
    rng: np.random.Generator, classes: Iterator[type[Panel]], *, others: int
) -> tuple[type[Panel], ...]:
    """Classes of one figure's panels: the next of the cycle, and at least `others` more (none for 0)."""
    first = next(classes)
    count = int(rng.integers(others, 4)) if others else 0
    return (first, *(first if chance(rng, 0.45) else pick(rng, CLASSES) for _ in range(count)))


def _class_cycle(seed: int, part: int) -> Iterator[type[Panel]]:
    """Every class once in an order of its own, again and again: any 20 in a row from the start are balanced."""
    rng = random_stream(seed, Stream.CLASSES, 1_000_000 + part)
    while True:
        yield from (CLASSES[i] for i in rng.permutation(len(CLASSES)))


def _file_stem(journal: Journal, number: int) -> str:
    initials = "".join(word[0] for word in journal.abbreviation.split()).lower()
    return f"{initials}-{12 + number % 40}-{100 + number}"
