"""The little of an article's front matter that PMC's metadata JSON would have told, read from the XML by pattern.

Only for packages, which bring no metadata: enough to identify, date and license an article. The extraction parses the
same XML properly; nothing here ends up in the articles table.
"""

from __future__ import annotations

import calendar
import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from biomedica_kedro.pmc.licenses import read_license

# What the `<article>` of JATS holds and that of a web page does not.
ARTICLE_PARTS = frozenset({"front", "body", "back", "floats-group", "floats-wrap", "sub-article", "response", "fig"})

_HEAD_BYTES = 1 << 20
_TAG = re.compile(r"<[^<>]*>")
_ARTICLE = re.compile(r"<(?:[\w.-]+:)?article[\s>]")
# Markup before the root element, and its name; not of UTF-16, in which each file is taken as one article.
_ROOT = re.compile(
    rb"(?:\s|(?><\?.*?\?>)|(?><!--.*?-->)|(?><!DOCTYPE[^>\[]*(?:\[[^\]]*\]\s*)?>))*+<([\w.:-]+)",
    re.DOTALL | re.IGNORECASE,
)
_EDGE = re.compile(rb"<(/?)(?:[\w.-]+:)?article(?=[\s>])")
_PART = re.compile(rb"<(?:[\w.-]+:)?(?:%s)[\s/>]" % "|".join(sorted(ARTICLE_PARTS)).encode())
_NAMESPACE = re.compile(rb"""(xmlns(?::[\w.-]+)?)\s*=\s*("[^"<>]*"|'[^'<>]*')""")
_BODY = re.compile(r"<(?:[\w.-]+:)?(?:body|back|sub-article)[\s>]")
_ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)[\"']")
_ID = re.compile(r"<(?:[\w.-]+:)?article-id\b([^<>]*)>([^<]*)<")
_ID_TYPE = re.compile(r"pub-id-type\s*=\s*[\"']([^\"']*)[\"']")
_PERMISSIONS = re.compile(r"</?(?:[\w.-]+:)?(?:permissions|license|copyright-statement)\b")
_ATTRIBUTE = re.compile(r"=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')")
_RETRACTED = re.compile(r"article-type\s*=\s*[\"']retraction|related-article-type\s*=\s*[\"'][\w-]*retract", re.I)
_MANUSCRIPT = re.compile(r"pub-id-type\s*=\s*[\"']manuscript[\"']|\bopen_access\s+manuscript", re.I)
_DATE = re.compile(r"<(?:[\w.-]+:)?pub-date\b(?![^<>]*pmc-release)[^<>]*>(.*?)</(?:[\w.-]+:)?pub-date>", re.DOTALL)

# How the title of a retracted article, or of the notice, begins or ends; a word alone may be a matter of medicine.
_NOTICE = r"(?:notice|notification|note|statement|announcement)"
_WORK = r"(?:article|paper|manuscript|chapter|publication|study)"
RETRACTED_TITLE = re.compile(
    rf"^\W*(?:(?:retracted|withdrawn)(?:\s+{_WORK})?\s*(?:[:\])}}.|—]|[-–]\s|$)"
    rf"|this\s+{_WORK}\s+(?:has\s+been|was|is)\s+(?:retracted|withdrawn)"
    r"|(?-i:RETRACTED|WITHDRAWN)\s"
    rf"|(?:\w+\s+)?{_NOTICE}\s+of\s+(?:\w+\s+)?(?:retraction|withdrawal)\b"
    r"|retraction(?:\.\s|\s*—|\s+[-–]\s)"
    r"|(?:(?:editorial|article|author|publisher|partial|full)\S*\s+)?(?:retraction|withdrawal)"
    rf"(?:\s+{_NOTICE}\b|\s+(?:of|for)\s[^:]{{1,60}}\bet al\b"
    r"|(?:\s+(?:to|of|for|and replacement(?:\s+of)?))?\s*(?:[:\"“‘]|$)))"
    rf"|[\[(]\s*(?:retracted|withdrawn)(?:\s+(?:{_WORK}|by|in|on)\b[^\])]*|[.:;,][^\])]*)?[\])]\W*$"
    rf"|[-–—:]\s*(?:retracted|withdrawn)(?:\s+{_WORK})?\W*$|:\s*retraction(?:\s+{_NOTICE})?\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Front matter; absent values are None."""

    pmcid: str | None
    version: int
    pmid: str | None
    doi: str | None
    publisher_id: str | None
    title: str | None
    citation: str | None
    license_code: str | None
    is_retracted: bool
    is_manuscript: bool


def articles_in(xml: bytes) -> list[bytes]:
    """The JATS articles of a file, each alone: a set of efetch or OAI-PMH holds several, a page or a feed none."""
    root = _ROOT.match(xml.removeprefix(b"\xef\xbb\xbf"))
    if root is None or root[1].rpartition(b":")[2] == b"article":
        return [xml] if _ARTICLE.search(_decode(xml[:65_536])) else []
    blocks = [block for block in _blocks(xml) if _PART.search(block)]
    if len(blocks) < 2:
        return [xml] * len(blocks)
    outer = _NAMESPACE.findall(xml[: xml.index(blocks[0])])
    return [_with_namespaces(block, outer) for block in blocks]


def _blocks(xml: bytes) -> Iterator[bytes]:
    start = None
    for edge in _EDGE.finditer(xml):
        if not edge[1]:
            start = edge.start()
        elif start is not None:
            yield xml[start : xml.find(b">", edge.end()) + 1]
            start = None


def _with_namespaces(article: bytes, outer: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An article taken out of its wrapper, with the namespaces declared there."""
    start, end = article.split(b">", 1)
    own = {name for name, _ in _NAMESPACE.findall(start)}
    return start + b"".join(b" %s=%s" % space for space in outer if space[0] not in own) + b">" + end


def read_front(xml: bytes) -> Front:
    """Read the front matter of an article.

    Args:
        xml: the article; only what stands before its body, within the first megabyte, is looked at.
    """
    head = _decode(xml[:_HEAD_BYTES])
    end = _BODY.search(head)
    head = head[: end.start()] if end else head
    ids = _article_ids(head)
    pmcid, version = _pmcid(ids)
    title = _element(head, "article-title")
    return Front(
        pmcid=pmcid, version=version, pmid=ids.get("pmid"), doi=ids.get("doi"), publisher_id=ids.get("publisher-id"),
        title=title, citation=_citation(head), license_code=_license_code(head),
        is_retracted=(_RETRACTED.search(head) or RETRACTED_TITLE.search(title or "")) is not None,
        is_manuscript=_MANUSCRIPT.search(head) is not None,
    )  # fmt: skip


def _decode(xml: bytes) -> str:
    if xml.startswith((b"\xff\xfe", b"\xfe\xff")):
        return xml.decode("utf-16", "replace")
    declared = _ENCODING.match(xml)
    try:
        return xml.decode(declared[1].decode() if declared else "utf-8", "replace")
    except LookupError:
        return xml.decode("utf-8", "replace")


def _article_ids(head: str) -> dict[str, str]:
    ids: dict[str, str] = {}
    for attributes, value in _ID.findall(head):
        kind = _ID_TYPE.search(attributes)
        if kind is not None and value.strip():
            ids.setdefault(kind[1], value.strip())
    return ids


def _pmcid(ids: dict[str, str]) -> tuple[str | None, int]:
    for kind in ("pmcid-ver", "pmcid", "pmc", "pmcaid"):
        found = re.fullmatch(r"(?:PMC)?(\d+)(?:\.(\d+))?", ids.get(kind, ""), re.I)
        if found is not None:
            return f"PMC{found[1]}", int(found[2] or 1)
    return None, 1


def _license_code(head: str) -> str | None:
    edges = list(_PERMISSIONS.finditer(head))
    block = head[edges[0].start() : edges[-1].end()] if edges else ""
    attributes = (one or other for one, other in _ATTRIBUTE.findall(block))
    return read_license(*attributes, html.unescape(_TAG.sub("", block))).code


def _citation(head: str) -> str | None:
    """A citation of the form the metadata JSON has: "Journal. 2020 Sep 16"."""
    journal = _element(head, "journal-title") or "Unknown journal"
    dates = []
    for block in _DATE.findall(head):
        year, month, day = (_element(block, part) or "" for part in ("year", "month", "day"))
        number = int(month) if month.isdecimal() and 1 <= int(month) <= 12 else 0
        name = calendar.month_abbr[number] if number else month[:3].capitalize()
        if year.isdecimal():
            dates.append(" ".join(part for part in (year, name, day if day.isdecimal() and name else "") if part))
    date = max(dates, key=lambda text: (len(text.split()), text), default="")
    return f"{journal.replace('. ', ' ')}. {date}".strip()


def _element(text: str, name: str) -> str | None:
    found = re.search(rf"<(?:[\w.-]+:)?{name}(?:\s[^<>]*)?>(.*?)</(?:[\w.-]+:)?{name}>", text, re.DOTALL)
    content = " ".join(html.unescape(_TAG.sub("", found[1])).split()) if found else ""
    return content or None
