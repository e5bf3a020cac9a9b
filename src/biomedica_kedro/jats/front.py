"""Front matter: what an article is, who wrote it, when it appeared and under which license.

Each field is read on its own, so that an oddity in one never costs another. Journals are taken from the journal's
metadata, never from a citation string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from lxml import etree

from biomedica_kedro.jats.model import Article
from biomedica_kedro.jats.permissions import license_of
from biomedica_kedro.jats.tree import children_by_tag, language_of, plain_text, text_of, text_without, texts_by_tag
from biomedica_kedro.pmc.front import RETRACTED_TITLE
from biomedica_kedro.pmc.identifiers import ARTICLE_ID, known_pmcid
from biomedica_kedro.pmc.licenses import license_group
from biomedica_kedro.pmc.metadata import MONTHS

Children = Mapping[str, Sequence[etree._Element]]

# Electronic publication first: it is when readers could read; `collection` is often the year of the volume only.
_DATE_ORDER = ("epub", "electronic", "pub", "ppub", "print", "epub-ppub", "collection")
# Not when readers could read it: PMC's own release, which may be a year later, and dates of the manuscript.
_NOT_PUBLISHED = {"pmc-release", "nihms-submitted", "received", "accepted", "preprint"}
# NLM 2 has the statements in the place of `<permissions>`.
_PERMISSIONS = ("permissions", "copyright-statement", "license")
_YEAR = re.compile(r"[12][0-9]{3}")
_ISO = re.compile(r"[12][0-9]{3}(?:-[0-9]{2}){0,2}")
_MESH_GROUP = re.compile(r"mesh", re.IGNORECASE)
_NOT_KEYWORDS = re.compile(r"abbrev|mesh|research-organism", re.IGNORECASE)
_OTHER_ABSTRACTS = re.compile(
    r"graphical|teaser|toc|summary|key-?\s?points|highlights|synopsis|precis|executive|plain|\blay\b|video|significance",
    re.IGNORECASE,
)
# What publishers and PMC put into abstracts that is none of theirs.
_BOILERPLATE = re.compile(
    r"(?:the )?online version .{0,150}\bcontains? (?:electronic )?supplement|click here (?:for|to) "
    r"|(?:electronic |online )?supplement\w* (?:material|information|data)\b.{0,80}\bavailable\b",
    re.IGNORECASE,
)
_NOTES = ("xref", "fn")
_MARKS = " *†‡§¶#☆★✩⁎∗"
# A number behind these is a footnote's; behind a sign or unit it is a power: R2, km2.
_ENDS_WITH_WORD = re.compile(r"[^\W\d_]{4}[.?!)”\"]?\s*$")
_NUMBERS = f"{_MARKS}0123456789,–-"
_AUTHOR_TYPE = re.compile(r"(?!.*(?:edit|\bnon))(?:.*[\W_])?(?:author|collab|group)", re.IGNORECASE)
_NOT_A_NAME = ("contrib-group", "aff", "address", "email", "xref", "fn", "sup", "list")


def read_front(root: etree._Element, article_id: str) -> Article:
    """Article record with its front matter; text, references and figures are filled in by others.

    Args:
        root: the `<article>` element.
        article_id: "PMC10009416.1"; an id of another form has version 1.
    """
    place = ARTICLE_ID.fullmatch(article_id)
    article = Article(
        article_id=article_id, pmcid=known_pmcid(article_id), version=int(place["version"]) if place else 1,
        article_type=root.get("article-type"), language=language_of(root) or "en",
    )  # fmt: skip
    front = next(root.iterchildren("front"), None)
    parts = {} if front is None else children_by_tag(front)
    if "journal-meta" in parts:
        _read_journal(article, parts["journal-meta"][0])
    meta = children_by_tag(parts["article-meta"][0]) if "article-meta" in parts else {}
    _read_meta(article, meta)
    article.is_retracted = is_retraction(article, meta)
    article.license_group = license_group(article.license_code).value
    return article


def is_retraction(article: Article, meta: Children) -> bool:
    """Whether the article was retracted, or is the notice that retracts another.

    Args:
        article: with its type and title.
        meta: children of `<article-meta>` by tag.
    """
    if article.article_type in {"retraction", "retracted-article", "expression-of-concern"}:
        return True
    title = article.title.lower()
    if ("retract" in title or "withdr" in title) and RETRACTED_TITLE.search(article.title):
        return True
    return any("retract" in (link.get("related-article-type") or "") for link in meta.get("related-article", ()))


def _read_journal(article: Article, journal: etree._Element) -> None:
    for element in journal.iter("journal-title", "publisher-name"):
        if element.tag == "journal-title":
            article.journal = article.journal or plain_text(element)
        else:
            article.publisher = article.publisher or plain_text(element) or None
    if not article.journal:
        ids = {e.get("journal-id-type"): plain_text(e) for e in journal.iterchildren("journal-id")}
        article.journal = ids.get("nlm-ta") or ids.get("iso-abbrev") or next(iter(ids.values()), None)


def _read_meta(article: Article, meta: Children) -> None:
    ids = {element.get("pub-id-type"): plain_text(element) for element in meta.get("article-id", ())}
    article.pmid, article.doi = ids.get("pmid") or None, ids.get("doi") or None
    for group in meta.get("title-group", ()):
        article.title = article.title or _title(next(group.iterchildren("article-title"), None))
    article.abstract = _abstract(meta.get("abstract", ()), article.language)
    article.publication_date = _publication_date(meta.get("pub-date", ()))
    article.subjects = _unique(
        plain_text(e) for group in meta.get("article-categories", ()) for e in group.iter("subject")
    )
    article.authors = [name for group in meta.get("contrib-group", ()) for name in _authors(group)]
    license_ = license_of([e for tag in _PERMISSIONS for e in meta.get(tag, ())])
    article.license_code = license_.code
    article.warnings += [license_.warning] if license_.warning else []
    article.citation = _citation(article, meta)
    for group in meta.get("kwd-group", ()):
        kind = f"{group.get('kwd-group-type', '')} {group.get('specific-use', '')}"
        words = [text_of(e) for e in group.iter("kwd", "compound-kwd")]
        if _MESH_GROUP.search(kind):
            article.mesh_terms = _unique([*article.mesh_terms, *words])
        elif not _NOT_KEYWORDS.search(kind):
            article.keywords = _unique([*article.keywords, *words])
    article.is_manuscript = "manuscript" in ids or _custom_meta(meta, "pmc-prop-manuscript") == "yes"


def _title(element: etree._Element | None) -> str:
    """A title without footnotes and the marks that lead to them."""
    if element is None or next(element.iter(*_NOTES, "sup"), None) is None:
        return text_of(element).rstrip(_MARKS)
    last, rest = element[-1], text_without(element, {element[-1]})
    end = last if not (last.tail or "").strip() and _ENDS_WITH_WORD.search(rest) else None
    marks = (sup for sup in element.iter("sup") if not plain_text(sup).strip(_NUMBERS if sup is end else _MARKS))
    return text_without(element, {*element.iter(*_NOTES), *marks}).rstrip(_MARKS)


def _abstract(abstracts: Sequence[etree._Element], language: str) -> str:
    """The main abstract, structured or not: section titles stand before their sections."""

    def rank(abstract: etree._Element) -> tuple[bool, bool, bool]:
        kind = abstract.get("abstract-type") or ""
        title = text_of(next(abstract.iterchildren("title"), None))
        is_other = _OTHER_ABSTRACTS.search(kind or title.removeprefix("Summary")) is not None
        return is_other, bool(kind), (language_of(abstract) or language) != language

    main = min(abstracts, key=rank, default=None)
    if main is None or (main.get("abstract-type") and rank(main)[0]):
        return ""
    pieces: list[str] = []
    titles: list[tuple[etree._Element, str]] = []
    for element in main.iter("title", "p"):
        section = element.getparent()
        around = () if section is None or section is main else (section, *section.iterancestors())
        if any(outer.tag in ("p", "caption") for outer in around):
            continue
        text = text_of(element)
        if element.tag == "title":
            titles += [(around[0], f"{text}:" if text[-1:].isalnum() else text)] if around else []
        elif text and not _BOILERPLATE.match(text):
            pieces += [*(title for section, title in titles if section in around), text]
            titles = []
    return " ".join(filter(None, pieces)) or (text_of(main) if next(main.iter("title", "p"), None) is None else "")


def _publication_date(elements: Sequence[etree._Element]) -> str | None:
    by_kind: dict[str, list[etree._Element]] = {}
    for element in elements:
        kind = element.get("pub-type") or element.get("date-type") or ""
        if kind == "pub" and element.get("publication-format") == "electronic":
            kind = "electronic"
        if kind not in _NOT_PUBLISHED:
            by_kind.setdefault(kind, []).append(element)
    for kinds in (_DATE_ORDER, by_kind):
        days = filter(None, (next(filter(None, map(_date, by_kind.get(kind, ()))), None) for kind in kinds))
        for first in days:
            # "collection 2019" says less than "ppub 2019-03", so the first full date wins over an earlier vague one.
            return first if len(first) > len("2019") else next((day for day in days if len(day) > len("2019")), first)
    return None


def _date(element: etree._Element) -> str | None:
    """ISO 8601, as far as it is given and possible."""
    parts = texts_by_tag(element)
    year = parts.get("year", "")
    if not _YEAR.fullmatch(year):
        written = _iso(element) or _YEAR.search(parts.get("string-date", ""))
        return written[0] if written else None
    month = parts.get("month", "")[:3].lower()
    number = MONTHS.get(month) or (int(month) if month.isdecimal() else 0)
    if not 1 <= number <= len(MONTHS):
        iso = _iso(element)
        return iso[0] if iso and iso[0].startswith(year) else year
    day = parts.get("day", "")
    try:
        return date(int(year), number, int(day) if day.isdecimal() else 0).isoformat()
    except ValueError:
        return f"{year}-{number:02d}"


def _iso(element: etree._Element) -> re.Match[str] | None:
    return _ISO.match(element.get("iso-8601-date") or "")


def _authors(group: etree._Element) -> list[str]:
    names = []
    for contributor in group.iterchildren("contrib"):
        kind = contributor.get("contrib-type", "author")
        if (kind == "author" or _AUTHOR_TYPE.match(kind)) and (name := _author(contributor)):
            names.append(name)
    return names


def _author(contributor: etree._Element) -> str:
    """Given name, surname and suffix; a group's name without its members; or the name as written."""
    is_plain = len(contributor) and contributor[0].tag == "name" and len(contributor[0])
    for element in [contributor[0]] if is_plain else contributor.iter("name", "collab", "collab-name", "string-name"):
        if element.tag != "name":
            text = text_without(element, set(element.iter(*_NOT_A_NAME)))
        else:
            parts = texts_by_tag(element)
            text = " ".join(filter(None, map(parts.get, ("given-names", "surname", "suffix"))))
        if text:
            return text
    return ""


def _citation(article: Article, meta: Children) -> str | None:
    """Journal, date, volume, issue and pages in the manner of PubMed."""
    if not article.journal:
        return None
    volume, issue, first, last, electronic = (
        plain_text(meta[tag][0]) if tag in meta else "" for tag in ("volume", "issue", "fpage", "lpage", "elocation-id")
    )
    first = first or electronic
    pages = f"{first}-{last}" if first and last and last != first else first
    place = volume + (f"({issue})" if issue else "") + (f":{pages}" if pages else "")
    return ". ".join([article.journal, ";".join(part for part in (article.publication_date, place) if part)]).strip(
        ". "
    )


def _custom_meta(meta: Children, name: str) -> str:
    for group in meta.get("custom-meta-group", ()):
        for entry in group.iterchildren("custom-meta"):
            parts = texts_by_tag(entry)
            if parts.get("meta-name") == name:
                return parts.get("meta-value", "")
    return ""


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
