"""Figures of an article: one record for every `<fig>`, wherever it stands, and for every graphic that is no figure.

Groups, and figures with panels, hand their caption and label down to what they hold; the same image told in another
language is linked, not counted twice; nested figures become figures of their own. Source: JATS tag library, `<fig>` and
`<fig-group>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from lxml import etree

from biomedica_kedro.jats.graphics import is_film, read_graphics
from biomedica_kedro.jats.labels import label_key
from biomedica_kedro.jats.model import Figure, Kind
from biomedica_kedro.jats.permissions import license_override
from biomedica_kedro.jats.places import Place
from biomedica_kedro.jats.scan import Scan
from biomedica_kedro.jats.tags import XML_LANG
from biomedica_kedro.jats.tree import children_by_tag, language_of, text_of, text_without

NOT_A_FIG = "no <fig> element"
_HOLDERS = {"fig", "fig-group"}

_KIND_WORD = re.compile(r"\b(scheme|chart|plate)", re.IGNORECASE)
# PMC's own words where it has a link to a file.
_CLICK_HERE = re.compile(r"\bclick here (?:for|to)\b[^.]{0,60}\b(?:file|data|view)\b[^.]{0,30}(?:\.|$)", re.IGNORECASE)
_ASIDES = {"alt-text", "long-desc", "attrib", "p", "statement", "list"}
_NOTES = ("p", "statement", "list")
# What is no caption where a figure has none.
_NO_CAPTION = {"label", *_ASIDES, "permissions", "table-wrap", "table", "media"} - {"p"}
_PANEL_LABEL = re.compile(r"\W*[A-Za-z]\W*$|\W*(?:i{1,3}|iv|v)\W*$")
_KINDS = {
    "fig-group": Kind.FIGURE,
    **dict.fromkeys(("abstract", "trans-abstract"), Kind.GRAPHICAL_ABSTRACT),
    **dict.fromkeys(("table-wrap", "array"), Kind.TABLE),
    **dict.fromkeys(("disp-formula", "inline-formula", "disp-formula-group"), Kind.EQUATION),
    **dict.fromkeys(("chem-struct", "chem-struct-wrap"), Kind.CHEMICAL_STRUCTURE),
    "inline-graphic": Kind.INLINE_GRAPHIC,
    "media": Kind.VIDEO,
}


@dataclass(slots=True)
class FigureSet:
    """The figures of an article, and what their ids lead to.

    Attributes:
        figures: in document order.
        by_element: the figure of each element that carries one.
        by_id: figures by `(sub-article, @id)`, their own or that of a graphic of theirs; more than one where the file
            uses an id twice.
        by_group: members by `(sub-article, @id)` of their group, or of the figure they are panels of.
    """

    figures: list[Figure] = field(default_factory=list)
    by_element: dict[etree._Element, Figure] = field(default_factory=dict)
    by_id: dict[tuple[str | None, str], list[Figure]] = field(default_factory=dict)
    by_group: dict[tuple[str | None, str], list[Figure]] = field(default_factory=dict)


def read_figures(scan: Scan, article_id: str) -> FigureSet:
    """Records of all figures of an article, without mentions."""
    found = FigureSet()
    taken: set[str] = set()
    members: dict[etree._Element, list[etree._Element]] = {}
    for element, carrier in scan.carriers.items():
        place = scan.places[carrier.scope]
        around = scan.places[scan.places.outer[carrier.scope]] if element.tag in _HOLDERS else place
        graphics = carrier.graphics or carrier.in_caption
        figure = _read_figure(element, graphics, place, article_id)
        figure.position = len(found.figures)
        figure.sub_article_id = place.sub_article
        figure.figure_id = _unique_id(element.get("id"), figure, taken)
        if element.tag == "fig" and around.figure is not None:
            figure.parent_figure_id = found.by_element[around.figure].figure_id
        if around.holder is not None:
            members.setdefault(around.holder, []).append(element)
        found.figures.append(figure)
        found.by_element[element] = figure
        for one in dict.fromkeys((element, *graphics)):
            if published := one.get("id"):
                found.by_id.setdefault((figure.sub_article_id, published), []).append(figure)
    if scan.groups or members:
        _hand_down(scan, members, found)
    _link_translations(scan, found.figures)
    return found


def _read_figure(element: etree._Element, graphics: list[etree._Element], place: Place, article_id: str) -> Figure:
    figure = Figure(article_id=article_id, figure_id="", position=0, kind=Kind.FIGURE)
    figure.graphics = read_graphics(graphics)
    children = children_by_tag(element)
    for graphic in graphics:
        for child in graphic if len(graphic) and graphic is not element else ():
            children.setdefault(child.tag, []).append(child)
    if "label" in children:
        figure.label = text_of(children["label"][0])
    figure.kind = _kind(element, figure, place)
    if "caption" in children:
        _read_captions(figure, children["caption"], place.language)
    elif element.tag == "fig":
        apart = {child for tag in _NO_CAPTION & children.keys() for child in children[tag]}
        figure.caption = text_without(element, apart)
    if not _ASIDES.isdisjoint(children):
        figure.alt_text = _joined(children, "alt-text") or _joined(children, "long-desc")
        figure.attribution = _joined(children, "attrib")
        if element.tag == "fig":
            figure.note = _joined(children, *(_NOTES if "caption" in children else _NOTES[1:]))
    if element.tag != "fig":
        figure.warnings.append(NOT_A_FIG)
    if figure.kind is Kind.GRAPHICAL_ABSTRACT and place.abstract is not None:
        beside = _abstract_caption(place.abstract)
        if figure.caption:
            figure.group_caption = beside
        elif beside:
            figure.caption, figure.captions_by_language = beside, {place.language: beside}
    permissions = children["permissions"][0] if "permissions" in children else None
    figure.license_override = license_override(permissions, figure.caption, figure.attribution, figure.note)
    if not figure.graphics:
        figure.warnings.append("no graphic")
    return figure


def _read_captions(figure: Figure, captions: list[etree._Element], language: str) -> None:
    by_language: dict[str, str] = {}
    titles: dict[str, str] = {}
    said: set[tuple[str, str]] = set()
    for caption in captions:
        spoken = language_of(caption) or language
        parts = caption if len(caption) > 1 and caption[-1].get(XML_LANG) else (caption,)
        for part in parts:
            text = text_of(part)
            if "lick here" in text:
                text = _CLICK_HERE.sub("", text).strip()
            told = (language_of(part) if parts is caption else None) or spoken
            if told not in titles:
                first = part if parts is caption else next(iter(caption), None)
                titles[told] = text_of(first) if first is not None and first.tag == "title" else ""
            if text and (told, text) not in said:
                said.add((told, text))
                by_language[told] = f"{by_language[told]} {text}" if told in by_language else text
    if not by_language:
        return
    main = language if language in by_language else next(iter(by_language))
    figure.captions_by_language = by_language
    figure.caption, figure.title = by_language[main], titles[main]


def _kind(element: etree._Element, figure: Figure, place: Place) -> Kind:
    if element.tag == "graphic" and (figure.label or next(element.iterchildren("caption"), None) is not None):
        return _named_kind(figure.label) or Kind.FIGURE
    if element.tag != "fig":
        return _KINDS.get(element.tag, Kind.OTHER)
    if place.abstract is not None:
        return Kind.GRAPHICAL_ABSTRACT
    if figure.graphics and all(map(is_film, figure.graphics)):
        return Kind.VIDEO
    return _named_kind(element.get("fig-type") or "") or _named_kind(figure.label) or Kind.FIGURE


@lru_cache(maxsize=4096)
def _named_kind(label: str) -> Kind | None:
    named = _KIND_WORD.search(label)
    return Kind(named[1].lower()) if named else None


def _abstract_caption(abstract: etree._Element) -> str:
    """What a graphical abstract says beside its image; the main abstract is no caption."""
    if not abstract.get("abstract-type") and "raphical" not in text_of(abstract.find("title")):
        return ""
    return " ".join(filter(None, (text_of(part) for part in abstract if part.tag not in {"title", "label", "fig"})))


def _joined(children: Mapping[str, list[etree._Element]], *tags: str) -> str:
    """Text of the children with these tags, each wording once."""
    texts = [text_of(child) for tag in tags if tag in children for child in children[tag]]
    return " ".join(text for text in dict.fromkeys(texts) if text)


def _unique_id(published: str | None, figure: Figure, taken: set[str]) -> str:
    stem = published or f"{figure.kind.value.replace('_', '-')}-{figure.position + 1}"
    figure_id, n = stem, 1
    while figure_id in taken:
        n += 1
        figure_id = f"{stem}-{n}"
    if published and n > 1:
        figure.warnings.append(f"the id {published!r} occurs more than once")
    if not published and figure.kind is Kind.FIGURE:
        figure.warnings.append("no id")
    taken.add(figure_id)
    return figure_id


def _hand_down(scan: Scan, members: Mapping[etree._Element, list[etree._Element]], found: FigureSet) -> None:
    """Give what a group says, and a figure with panels, to what it holds; they may be nested, so outer ones first."""
    groups = {element: _read_group(element, scan.places[scope].language) for element, scope in scan.groups.items()}
    above = {element: scan.places[scan.places.outer[scope]].holder for element, scope in scan.groups.items()}
    for group, holder in above.items():  # in document order
        if holder is not None:
            _inherit(groups[group], groups.get(holder) or found.by_element[holder])
    scopes = scan.groups | {element: carrier.scope for element, carrier in scan.carriers.items()}
    for holder in sorted(members, key=scopes.__getitem__):
        outer, elements = groups.get(holder) or found.by_element[holder], members[holder]
        if holder not in groups:
            elements = [element for element in elements if _is_panel(element, found.by_element[element], outer)]
        for element in elements:
            above[element] = holder
            _note_holders(element, above, found)
        figures = [found.by_element[element] for element in elements]
        if holder in groups and _is_bilingual(elements, figures):
            _join_languages(figures, [language_of(element) or "" for element in elements], holder.get("id"), found)
            continue
        main = next((f for e, f in zip(elements, figures, strict=True) if e.get("specific-use") != "child-fig"), None)
        for element, figure in zip(elements, figures, strict=True):
            if element.get("specific-use") == "child-fig" and main is not None:
                figure.parent_figure_id = main.figure_id
            _inherit(figure, outer)


def _read_group(group: etree._Element, language: str) -> Figure:
    """What a `<fig-group>` says, as a figure without graphics."""
    figure = Figure(article_id="", figure_id="", position=0, kind=Kind.FIGURE)
    _read_captions(figure, group.findall("caption"), language)
    figure.label = text_of(group.find("label"))
    return figure


def _note_holders(
    element: etree._Element, above: Mapping[etree._Element, etree._Element | None], found: FigureSet
) -> None:
    """Have references to the ids of all that hold an element lead to its figure."""
    figure = found.by_element[element]
    holder = above[element]
    while holder is not None:
        if holder_id := holder.get("id"):
            figure.group_id = figure.group_id or holder_id
            found.by_group.setdefault((figure.sub_article_id, holder_id), []).append(figure)
        holder = above.get(holder)


def _is_panel(element: etree._Element, figure: Figure, outer: Figure) -> bool:
    """Whether a figure within a figure is a part of it rather than a figure of its own."""
    if element.get("specific-use") == "child-fig":
        return False
    if figure.label:
        is_letter = _PANEL_LABEL.fullmatch(figure.label) is not None
        return is_letter or (not figure.caption and label_key(figure.label) == label_key(outer.label))
    return not figure.caption


def _is_bilingual(elements: list[etree._Element], figures: list[Figure]) -> bool:
    """Whether the members of a group are one image told in several languages."""
    languages = {language_of(element) for element in elements}
    if len(elements) < 2 or None in languages or len(languages) < len(elements):
        return False
    return len({_stems(figure) for figure in figures if figure.graphics}) <= 1


def _inherit(figure: Figure, outer: Figure) -> None:
    around = f"{outer.group_caption} {outer.caption}".strip()
    if outer.caption and not figure.caption:
        figure.caption, figure.title = outer.caption, outer.title
        figure.captions_by_language = dict(outer.captions_by_language)
        around = outer.group_caption
    figure.group_caption = around or figure.group_caption
    if around or outer.caption:
        figure.license_override = figure.license_override or license_override(None, outer.caption, outer.group_caption)
    if outer.label and (not figure.label or _PANEL_LABEL.fullmatch(figure.label)):
        figure.label = f"{outer.label} {figure.label}".strip()


def _join_languages(figures: list[Figure], languages: list[str], group_id: str | None, found: FigureSet) -> None:
    """Make the member that has the image the figure; the others become its translations."""
    main = next((figure for figure in figures if figure.graphics), figures[0])
    if group_id and "no id" in main.warnings and all(f.figure_id != group_id for f in found.figures):
        main.figure_id = group_id
    for figure, language in zip(figures, languages, strict=True):
        if figure is main:
            continue
        if "no id" in figure.warnings:
            figure.figure_id = f"{main.figure_id}-{language}"
        _translate(main, figure)


def _link_translations(scan: Scan, figures: list[Figure]) -> None:
    """Link the figures of `<sub-article article-type="translation">` to the article's own."""
    translations = {
        name for name, element in scan.places.sub_articles.items() if element.get("article-type") == "translation"
    }
    if not translations:
        return
    by_stems = {_stems(figure): figure for figure in _own(figures) if figure.graphics}
    by_label = {key: figure for figure in _own(figures) if (key := label_key(figure.label))}
    for figure in figures:
        if figure.sub_article_id in translations and figure.translation_of is None:
            original = by_stems.get(_stems(figure)) or by_label.get(label_key(figure.label) or ("", "", -1))
            if original is not None:
                _translate(original, figure)


def _translate(original: Figure, translation: Figure) -> None:
    translation.translation_of = original.figure_id
    for language, text in translation.captions_by_language.items():
        original.captions_by_language.setdefault(language, text)


def _own(figures: list[Figure]) -> Iterator[Figure]:
    return (figure for figure in figures if figure.sub_article_id is None and figure.translation_of is None)


def _stems(figure: Figure) -> tuple[str, ...]:
    return tuple(graphic.file_name.lower() for graphic in figure.graphics)
