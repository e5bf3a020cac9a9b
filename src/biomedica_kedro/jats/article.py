"""One article's XML to its record and its figures: the entry of the package.

Source: JATS (NISO Z39.96) 1.0 to 1.4, NLM 2 and 3; markup as found in PubMed Central, SciELO, eLife and Pensoft files.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Mapping
from typing import Any

import orjson

from biomedica_kedro.jats.figures import read_figures
from biomedica_kedro.jats.front import read_front
from biomedica_kedro.jats.mentions import find_mentions
from biomedica_kedro.jats.model import Article, Figure, Paragraph, ParsedArticle, Reference
from biomedica_kedro.jats.parser import read_article
from biomedica_kedro.jats.permissions import is_redistributable
from biomedica_kedro.jats.scan import Scan
from biomedica_kedro.pmc.licenses import license_group, narrower
from biomedica_kedro.records import DataError, RejectReason

_DOI = re.compile(r"10\.\d{4,9}/\S+")


def parse_article(xml: bytes, *, article_id: str) -> ParsedArticle:
    """Read an article: front matter, paragraphs, references, figures with captions and every mention.

    Args:
        xml: JATS XML, untrusted.
        article_id: "PMC10009416.1"; the records carry it, and of a set of articles it is the one taken.
    Returns:
        The article and its figures in document order; both tell in `warnings` what was odd.
    Raises:
        DataError: TOO_LARGE, HOSTILE_XML, MALFORMED_XML or NOT_AN_ARTICLE.

    Example:
        >>> parsed = parse_article(b"<article><body><fig id='F1'/></body></article>", article_id="PMC1.1")
        >>> parsed.figures[0].figure_id
        'F1'
    """
    # Python's cycle collector would look, again and again, at the thousands of elements of one article. They hold no
    # cycles, so nothing is kept longer without it, for milliseconds.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _parse(xml, article_id)
    finally:
        if collects:
            gc.enable()


def _parse(xml: bytes, article_id: str) -> ParsedArticle:
    source = read_article(xml, article_id)
    scan = Scan(source.root)
    article = read_front(source.root, article_id)
    article.recovered = source.recovered
    article.warnings += source.warnings
    found = read_figures(scan, article_id)
    article.paragraphs = _paragraphs(scan)
    find_mentions(scan, found)
    article.references = _references(scan)
    _settle_redistribution(article, found.figures)
    return ParsedArticle(article, found.figures)


def complement(parsed: ParsedArticle, metadata: bytes | None) -> ParsedArticle:
    """Add what only the archive's metadata JSON knows: PMC's license code, retraction, manuscript, citation.

    Args:
        parsed: what the XML says; its own license stands where the JSON has none.
        metadata: the JSON beside the XML, None when there is none.
    Raises:
        DataError: INVALID_METADATA when the JSON cannot be read.
    """
    if metadata is None:
        return parsed
    try:
        facts: Mapping[str, Any] = orjson.loads(metadata)
    except orjson.JSONDecodeError as error:
        raise DataError(RejectReason.INVALID_METADATA, f"the metadata JSON cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise DataError(RejectReason.INVALID_METADATA, f"the metadata JSON is a {type(facts).__name__}, not an object")
    # Numbers stand where texts are expected (a PMID).
    texts = {name: str(value) for name, value in facts.items() if value and isinstance(value, str | int)}
    article = parsed.article
    _settle_license(article, texts.get("license_code"))
    if isinstance(facts.get("is_retracted"), bool):
        article.is_retracted = facts["is_retracted"]
    article.is_manuscript = article.is_manuscript or bool(facts.get("is_manuscript"))
    article.citation = texts.get("citation") or article.citation
    article.title = article.title or texts.get("title", "")
    article.doi = article.doi or texts.get("doi")
    article.pmid = article.pmid or texts.get("pmid")
    article.source_uri = texts.get("xml_url", "").partition("?")[0] or article.source_uri
    _settle_redistribution(article, parsed.figures)
    return parsed


def _paragraphs(scan: Scan) -> list[Paragraph]:
    """The article's own text: body, appendices and acknowledgements, without floats, notes and sub-articles."""
    return [
        Paragraph(index, place.section, text)
        for index, scope, text, _ in scan.paragraphs
        if text and (place := scan.places[scope]).sub_article is None
    ]


def _references(scan: Scan) -> list[Reference]:
    return [
        Reference(identifier, pmid, _doi_in(with_doi) if with_doi else None, text)
        for identifier, pmid, with_doi, text in scan.walk.cited_works
    ]


def _doi_in(texts: list[str]) -> str | None:
    found = _DOI.search(" ".join(texts))
    return found[0].rstrip(".,;") if found else None


def _settle_license(article: Article, archived: str | None) -> None:
    """The archive's code stands, narrowed where the article itself asks for more."""
    both = narrower(archived, article.license_code)
    if archived and both != archived and both is not None:
        article.warnings.append(f"the archive says {archived}, the article {article.license_code}: taken as {both}")
    article.license_code = both or archived or article.license_code
    article.license_group = license_group(article.license_code).value


def _settle_redistribution(article: Article, figures: list[Figure]) -> None:
    own = is_redistributable(None, article.license_code)
    for figure in figures:
        override = figure.license_override
        figure.redistributable = own if override is None else is_redistributable(override, article.license_code)
