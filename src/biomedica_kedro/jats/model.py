"""What one JATS article holds: its front matter, paragraphs, references and figures.

The attributes of `Article` and `Figure` are the columns of `records.ARTICLES` and `records.FIGURES`. The small records
are plain dataclasses (slots, not frozen): an article makes hundreds of them, and freezing doubles their cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

_NESTED_IN_ARTICLE = ("paragraphs", "references")
_NESTED_IN_FIGURE = ("graphics", "mentions", "caption_mentions")


class Kind(StrEnum):
    """What a figure record stands for; only the first six are figures in the reader's sense."""

    FIGURE = "figure"
    SCHEME = "scheme"
    CHART = "chart"
    PLATE = "plate"
    GRAPHICAL_ABSTRACT = "graphical_abstract"
    VIDEO = "video"
    TABLE = "table"
    EQUATION = "equation"
    CHEMICAL_STRUCTURE = "chemical_structure"
    INLINE_GRAPHIC = "inline_graphic"
    OTHER = "other"


class Via(StrEnum):
    """How a mention was found: by the figure's id, by its group's id, inside a range, or by its label in the text."""

    DIRECT = "direct"
    GROUP = "group"
    RANGE = "range"
    TEXT = "text"


@dataclass(slots=True)
class Paragraph:
    """A paragraph of the article's text.

    Attributes:
        index: 0-based place among all `<p>` of the file, in document order.
        section: titles of the enclosing sections, outermost first, joined by " > "; empty outside sections.
        text: the paragraph's own text, spaces collapsed, without the figures, tables and paragraphs nested in it.
    """

    index: int
    section: str
    text: str


@dataclass(slots=True)
class Reference:
    """An entry of the reference list."""

    id: str | None
    pmid: str | None
    doi: str | None
    text: str


@dataclass(slots=True)
class Graphic:
    """An image file a figure names.

    Attributes:
        href: as published.
        file_name: the href without URL, DOI prefix and folders.
        rendition: what the publisher says of it ("image", "thumbnail", "media", "print-only", ...).
        part: 0-based image of the figure it shows; renditions of one image share it.
    """

    href: str
    file_name: str
    rendition: str
    part: int


@dataclass(slots=True)
class Mention:
    """A place where the text refers to a figure.

    Attributes:
        paragraph_index: see `Paragraph.index`; None outside paragraphs (a title, a table cell).
        section: see `Paragraph.section`.
        text: the paragraph, or what stands in for it.
        xref_text: the words that refer, panel letters included ("Fig. 2a").
        via: how the mention was found.
    """

    paragraph_index: int | None
    section: str
    text: str
    xref_text: str
    via: Via


@dataclass(slots=True, kw_only=True)
class Figure:
    """One figure, or a graphic that is none (see `Kind`); the columns of `records.FIGURES`.

    Attributes:
        figure_id: `@id`, made unique within the article; synthetic when absent.
        position: 0-based place among the article's records, in document order.
        parent_figure_id: the figure this one is nested in or supplements.
        group_id: `@id` of the enclosing `<fig-group>`, or of the figure that this one is a panel of.
        translation_of: the figure of which this one is the same image with text in another language.
        caption: title and paragraphs in the figure's main language, without the label.
        group_caption: caption of the enclosing group, or text of the graphical abstract, where the figure has a caption
            of its own.
        note: text that stands beside the caption.
        license_override: wording that sets the figure apart from the article's license.
        redistributable: whether the figure may be passed on; None when the article's license is unknown.
        caption_mentions: where captions refer to the figure.
    """

    article_id: str
    figure_id: str
    position: int
    kind: Kind
    parent_figure_id: str | None = None
    group_id: str | None = None
    translation_of: str | None = None
    label: str = ""
    title: str = ""
    caption: str = ""
    group_caption: str = ""
    note: str = ""
    captions_by_language: dict[str, str] = field(default_factory=dict)
    alt_text: str = ""
    attribution: str = ""
    license_override: str | None = None
    redistributable: bool | None = None
    graphics: list[Graphic] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    caption_mentions: list[Mention] = field(default_factory=list)
    sub_article_id: str | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Article:
    """The article itself; the columns of `records.ARTICLES`.

    Attributes:
        pmcid: under which PMC knows it; None where `article_id` stands in for one.
        publication_date: ISO 8601, as precise as published ("2019", "2019-03", "2019-03-05"); None when unknown.
        xml_sha256: of the XML; empty until the archive's index, which knows it, is asked.
        recovered: whether the XML was malformed and had to be repaired.
    """

    article_id: str
    pmcid: str | None
    version: int
    pmid: str | None = None
    doi: str | None = None
    title: str = ""
    abstract: str = ""
    journal: str | None = None
    publisher: str | None = None
    publication_date: str | None = None
    article_type: str | None = None
    language: str = "en"
    subjects: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    mesh_terms: list[str] = field(default_factory=list)
    authors: list[str] = field(default_factory=list)
    license_code: str | None = None
    license_group: str = "other"
    is_retracted: bool = False
    is_manuscript: bool = False
    citation: str | None = None
    paragraphs: list[Paragraph] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    source_uri: str | None = None
    xml_sha256: str = ""
    recovered: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ParsedArticle:
    """An article with its figures, in document order."""

    article: Article
    figures: list[Figure]


def article_row(article: Article) -> dict[str, Any]:
    """An article as a row of `records.ARTICLES`."""
    return _row(article, _NESTED_IN_ARTICLE)


def figure_row(figure: Figure) -> dict[str, Any]:
    """A figure as a row of `records.FIGURES`; Arrow takes a map as a list of pairs."""
    row = _row(figure, _NESTED_IN_FIGURE)
    row["captions_by_language"] = sorted(figure.captions_by_language.items())
    return row


def _row(record: Article | Figure, nested: Sequence[str]) -> dict[str, Any]:
    row = {field.name: getattr(record, field.name) for field in fields(record)}
    for name in nested:
        row[name] = [asdict(item) for item in row[name]]
    return row
