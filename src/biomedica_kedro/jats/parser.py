"""The one place that reads articles: untrusted bytes to the `<article>` element, or a `DataError` that says why not.

Namespaces and wrappers (OAI-PMH, efetch) are taken off, so that the rest of the package sees plain JATS names. How
malformed XML is read: see `xml_parser`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lxml import etree

from biomedica_kedro.jats.tags import MATHML, XLINK_HREF
from biomedica_kedro.pmc.front import ARTICLE_PARTS
from biomedica_kedro.pmc.identifiers import pmcid_of
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.xml_parser import Document, read_xml

# Prefixes that every publisher uses for the same, should the file forget to declare them.
_NAMESPACES = {"xlink": XLINK_HREF[1:].partition("}")[0], "mml": MATHML.strip("{}")}


def read_article(xml: bytes, article_id: str = "") -> Document:
    """Parse untrusted bytes and find the article in them.

    Args:
        xml: JATS of any version, namespaced or not, bare or wrapped.
        article_id: which article to take where the file is a set of several.
    Returns:
        The document whose root is the `<article>` element; its tags are plain JATS names.
    Raises:
        DataError: TOO_LARGE, HOSTILE_XML, MALFORMED_XML or NOT_AN_ARTICLE.
    """
    return read_xml(xml, _NAMESPACES, partial(_find_article, article_id=article_id))


def _find_article(root: etree._Element, article_id: str) -> etree._Element:
    article = root if _local_name(root) == "article" else _wrapped_article(root, article_id)
    namespace = etree.QName(article).namespace
    if namespace:
        prefix = len(namespace) + 2
        for element in article.iter(f"{{{namespace}}}*"):
            element.tag = element.tag[prefix:]
    return article


def _wrapped_article(root: etree._Element, article_id: str) -> etree._Element:
    """The article in a wrapper; of a set, the one asked for. The `<article>` of a web page has no part of JATS."""
    articles = [a for a in root.iter("{*}article") if any(map(ARTICLE_PARTS.__contains__, map(_local_name, a)))]
    if not articles:
        raise DataError(RejectReason.NOT_AN_ARTICLE, f"the root element is <{_local_name(root)}>, expected <article>")
    if len(articles) == 1:
        return articles[0]
    ids = [[f"PMC{(e.text or '').strip().removeprefix('PMC')}" for e in _pmc_ids(article)] for article in articles]
    for wanted in (article_id, pmcid_of(article_id)):
        for article, own in zip(articles, ids, strict=True):
            if wanted in map(pmcid_of, own) or wanted in own:
                return article
    found = ", ".join(" ".join(own) or "one without PMCID" for own in ids[:10])
    raise DataError(
        RejectReason.NOT_AN_ARTICLE, f"the file holds {len(articles)} articles, {found}: none is {article_id}"
    )


def _pmc_ids(article: etree._Element) -> Iterator[etree._Element]:
    """The `<article-id>` elements that hold the article's PMCID, with or without its version."""
    for meta in article.iterfind("{*}front/{*}article-meta"):
        yield from (e for e in meta.iterchildren("{*}article-id") if e.get("pub-id-type", "").startswith("pmc"))


def _local_name(element: etree._Element) -> str:
    # `QName` refuses what repair leaves of an undeclared prefix.
    return element.tag.rpartition("}")[2]
