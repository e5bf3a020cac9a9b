"""The one place that reads XML: untrusted bytes to the `<article>` element, or a `DataError` that says why not.

Nothing is fetched, no entity is expanded, sizes are bounded. Well-formed XML is asked for first; repair is a second
try, never of truncated files, and is reported. Namespaces and wrappers (OAI-PMH, efetch) are taken off, so that the
rest of the package sees plain JATS names.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5

from lxml import etree

from biomedica_kedro.pmc.front import ARTICLE_PARTS
from biomedica_kedro.pmc.identifiers import pmcid_of
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.xml_parser import make_parser

MAX_BYTES = 64 << 20
_END_BYTES = 4096

_HOSTILE = re.compile(
    r"amplification|entity reference loop|excessive depth|maximum.*depth|nested too deep", re.IGNORECASE
)
_TOO_LARGE = re.compile(r"huge|too long|resource limit", re.IGNORECASE)
_TRUNCATED = re.compile(r"premature end|no element found|document is empty|extra content at the end", re.IGNORECASE)
_UNDEFINED_ENTITY = re.compile(r"entity '[^']*' not defined", re.IGNORECASE)
_NAMED_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]*);")
_XML_ENTITIES = {b"amp", b"lt", b"gt", b"quot", b"apos"}


@dataclass(frozen=True, slots=True)
class Source:
    """An article's XML, read.

    Attributes:
        article: the `<article>` element; its tags are plain JATS names.
        recovered: whether malformed XML was repaired.
        warnings: what was done to read it.
    """

    article: etree._Element
    recovered: bool = False
    warnings: list[str] = field(default_factory=list)


def read_article(xml: bytes, article_id: str = "") -> Source:
    """Parse untrusted bytes and find the article in them.

    Args:
        xml: JATS of any version, namespaced or not, bare or wrapped.
        article_id: which article to take where the file is a set of several.
    Raises:
        DataError: TOO_LARGE, HOSTILE_XML, MALFORMED_XML or NOT_AN_ARTICLE.
    """
    if len(xml) > MAX_BYTES:
        raise DataError(RejectReason.TOO_LARGE, f"the XML has {len(xml)} bytes, the limit is {MAX_BYTES}")
    warnings: list[str] = []
    parser = _strict_parser()
    try:
        root, recovered = etree.fromstring(xml, parser), False
        is_clean = not len(parser.error_log)
    except etree.XMLSyntaxError as error:
        root, recovered = _second_try(xml, error, warnings)
        is_clean = False
    _replace_entities(root, warnings, is_clean)
    article = _find_article(root, article_id)
    if recovered:
        warnings.append("malformed XML was repaired")
    return Source(article, recovered, warnings)


_PARSERS = threading.local()


def _strict_parser() -> etree.XMLParser:
    """This thread's parser; one parser shared by threads would make them wait for each other."""
    parser: etree.XMLParser | None = getattr(_PARSERS, "strict", None)
    if parser is None:
        parser = _PARSERS.strict = make_parser()
    return parser


def _second_try(xml: bytes, error: etree.XMLSyntaxError, warnings: list[str]) -> tuple[etree._Element, bool]:
    n_nul = len(xml) - len(xml.rstrip(b"\0"))
    if n_nul and b"\0" not in xml[:4]:  # as those of UTF-16 would be
        warnings.append(f"{n_nul} NUL bytes after the end were left out")
        xml = xml[:-n_nul]
        try:
            return etree.fromstring(xml, make_parser()), False
        except etree.XMLSyntaxError as again:
            error = again
    message = f"{error}, before {n_nul} NUL bytes at the end" if warnings else str(error)
    _refuse(message)
    if _UNDEFINED_ENTITY.search(message):
        xml = _NAMED_ENTITY.sub(_character_reference, xml)
        warnings.append("undefined character entities were replaced")
    xml = xml.lstrip()
    for recover in (False, True):
        parser = make_parser(recover=recover)
        try:
            root = etree.fromstring(xml, parser)
        except etree.XMLSyntaxError as again:
            _refuse(str(again))
            message = str(again)
            continue
        for entry in parser.error_log:
            _refuse(entry.message)
        if root is not None and (not recover or _is_closed(xml, root)):
            return root, recover
    raise DataError(RejectReason.MALFORMED_XML, message)


def _is_closed(xml: bytes, root: etree._Element) -> bool:
    """Whether the file ends with the closing tag of its root: repair of a file that was cut off would hide the loss."""
    end = xml[-_END_BYTES:].replace(b"\0", b"").decode("utf-8", "replace")
    return re.search(rf"</(?:[\w.-]+:)?{re.escape(_local_name(root))}\s*>", end) is not None


def _refuse(message: str) -> None:
    """Raise when the parser's message means that repair would be unsafe or would hide a loss."""
    if _HOSTILE.search(message):
        raise DataError(RejectReason.HOSTILE_XML, message)
    if _TOO_LARGE.search(message):
        raise DataError(RejectReason.TOO_LARGE, message)
    if _TRUNCATED.search(message):
        raise DataError(RejectReason.MALFORMED_XML, f"the file is cut off: {message}")


def _character_reference(match: re.Match[bytes]) -> bytes:
    name = match[1]
    character = None if name in _XML_ENTITIES else html5.get(f"{name.decode()};")
    return match[0] if character is None else "".join(f"&#{ord(c)};" for c in character).encode()


def _replace_entities(root: etree._Element, warnings: list[str], is_clean: bool) -> None:
    """Put characters in the place of entity nodes, which text functions of libxml2 drop without a word.

    A file that the parser had nothing to say about has no undeclared entities.
    """
    document = root.getroottree().docinfo
    if not document.doctype:  # type: ignore[attr-defined]
        return  # without a document type an undefined entity is an error of syntax
    declared = {entity.name for entity in document.internalDTD.iterentities()}  # type: ignore[attr-defined]
    if is_clean and not declared:
        return
    entities = list(root.iter(etree.Entity))
    if not entities:
        return
    for entity in entities:
        name = (entity.text or "").strip("&;")
        if name in declared:
            raise DataError(RejectReason.HOSTILE_XML, f"the file declares and uses an entity of its own, {name!r}")
        _replace_by_text(entity, html5.get(f"{name};", f"&{name};"))
    warnings.append("undefined character entities were replaced")


def _replace_by_text(node: etree._Element, text: str) -> None:
    text += node.tail or ""
    node.tail = None
    parent, previous = node.getparent(), node.getprevious()
    if parent is None:
        return
    if previous is not None:
        previous.tail = (previous.tail or "") + text
    else:
        parent.text = (parent.text or "") + text
    parent.remove(node)


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
