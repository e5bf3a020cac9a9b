"""The little of an article's front matter that PMC's metadata JSON would have told, read from the XML by pattern.

Only for packages, which bring no metadata: enough to identify, date and license an article. The extraction parses the
same XML properly; nothing here ends up in the articles table.
"""

from __future__ import annotations

import calendar
import html
import re
from dataclasses import dataclass

_HEAD_BYTES = 1 << 20
_TAG = re.compile(r"<[^<>]*>")
_ARTICLE = re.compile(r"<(?:[\w.-]+:)?article[\s>]")
_BODY = re.compile(r"<(?:[\w.-]+:)?(?:body|back|sub-article)[\s>]")
_ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)[\"']")
_ID = re.compile(r"<(?:[\w.-]+:)?article-id\b([^<>]*)>([^<]*)<")
_ID_TYPE = re.compile(r"pub-id-type\s*=\s*[\"']([^\"']*)[\"']")
_LICENSE_URL = re.compile(r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)\b|publicdomain/(zero))", re.I)
_LICENSE_TYPE = re.compile(r"content-type\s*=\s*[\"']cc(0|by(?:nc)?(?:nd|sa)?)license", re.I)
_LICENSE_WORDS = re.compile(
    r"creative\s+commons\s+attribution([-\s]+non-?commercial)?(?:[-\s]+(no-?deriv\w*|share-?alike))?", re.I
)
_RETRACTED = re.compile(r"article-type\s*=\s*[\"']retraction|related-article-type\s*=\s*[\"']retracted", re.I)
_MANUSCRIPT = re.compile(r"pub-id-type\s*=\s*[\"']manuscript[\"']|\bopen_access\s+manuscript", re.I)
_DATE = re.compile(r"<(?:[\w.-]+:)?pub-date\b[^<>]*>(.*?)</(?:[\w.-]+:)?pub-date>", re.DOTALL)


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


def is_article(xml: bytes) -> bool:
    """Whether some bytes look like a JATS article, bare or wrapped."""
    return _ARTICLE.search(_decode(xml[:65_536])) is not None


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
    return Front(
        pmcid=pmcid,
        version=version,
        pmid=ids.get("pmid"),
        doi=ids.get("doi"),
        publisher_id=ids.get("publisher-id"),
        title=_element(head, "article-title"),
        citation=_citation(head),
        license_code=_license_code(head),
        is_retracted=_RETRACTED.search(head) is not None,
        is_manuscript=_MANUSCRIPT.search(head) is not None,
    )


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
    url = _LICENSE_URL.search(head)
    if url is not None:
        return "CC0" if url[2] else f"CC {url[1].upper()}"
    kind = _LICENSE_TYPE.search(head)
    if kind is not None:
        parts = re.findall("by|nc|nd|sa", kind[1].lower())
        return "CC0" if kind[1] == "0" else f"CC {'-'.join(parts).upper()}"
    words = _LICENSE_WORDS.search(_TAG.sub("", head))
    if words is None:
        return None
    last = {"n": "-ND", "s": "-SA"}.get((words[2] or " ")[0].lower(), "")
    return f"CC BY{'-NC' if words[1] else ''}{last}"


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
