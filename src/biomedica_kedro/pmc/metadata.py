"""The metadata JSON of an article version: licence, flags, and the name and md5 of each of its files.

Journal and date are read from the citation, which is all the JSON says about them; the extraction takes the exact ones
from the XML. URLs are trusted only as far as they name a plain file of the same article in the expected bucket.
Source: README.txt of the bucket `pmc-oa-opendata`, section on metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import pyarrow as pa

from biomedica_kedro.pmc.identifiers import ARTICLE_ID, known_pmcid
from biomedica_kedro.pmc.licenses import license_group
from biomedica_kedro.pmc.source import BUCKET, IMAGE_SUFFIXES, checked_key
from biomedica_kedro.records import DataError, RejectReason

MAX_METADATA_BYTES = 8 << 20

_S, _B, _I32 = pa.string(), pa.bool_(), pa.int32()

# One row per listed article version; `problem` says why its metadata could not be read, else it is null.
ARTICLE_METADATA = pa.schema(
    [
        ("article_id", _S), ("etag", _S), ("location", _S), ("status", _S), ("problem", _S), ("detail", _S),
        ("pmcid", _S), ("version", _I32), ("pmid", _S), ("doi", _S), ("title", _S), ("citation", _S),
        ("journal", _S), ("publication_date", _S), ("license_code", _S), ("license_group", _S),
        ("is_open_access", _B), ("is_manuscript", _B), ("is_historical_ocr", _B), ("is_retracted", _B),
        ("xml_name", _S), ("image_names", pa.list_(_S)),
    ]
)  # fmt: skip

MONTHS = {month: number for number, month in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1)}  # fmt: skip
_CITED_DATE = re.compile(r"\b((?:1[89]|20)\d\d)(?:\s+([A-Z][a-z]{2})[a-z]*(?:\s+(\d{1,2})\b)?)?")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of an article as its metadata name it; `md5` is None when they do not say."""

    name: str
    md5: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleMetadata:
    """What the metadata JSON says; the attributes are columns of `ARTICLE_METADATA`, and the files."""

    article_id: str
    pmcid: str | None
    version: int
    pmid: str | None
    doi: str | None
    title: str | None
    citation: str | None
    journal: str | None
    publication_date: str | None
    license_code: str | None
    license_group: str
    is_open_access: bool
    is_manuscript: bool
    is_historical_ocr: bool
    is_retracted: bool
    xml: RemoteFile
    media: tuple[RemoteFile, ...]
    forbidden: tuple[str, ...]

    @property
    def xml_name(self) -> str:
        """File name of the full text."""
        return self.xml.name

    @property
    def image_names(self) -> list[str]:
        """File names of the media that are images."""
        return [file.name for file in self.media if file.name.lower().endswith(IMAGE_SUFFIXES)]


def metadata_name(article_id: str) -> str:
    """File name of an article's metadata."""
    return f"{article_id}.json"


def parse_metadata(content: bytes, article_id: str) -> ArticleMetadata:
    """Read the metadata JSON of an article version.

    Args:
        content: the JSON.
        article_id: the article it was asked for, "PMC10009416.1".
    Raises:
        DataError: INVALID_METADATA when it is no such JSON or speaks of another article; FORBIDDEN_KEY when the full
            text lies outside of the article's own folder.
    """
    try:
        raw = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(RejectReason.INVALID_METADATA, f"not JSON: {error}") from error
    place = ARTICLE_ID.fullmatch(article_id)
    if not isinstance(raw, dict) or place is None or f"{raw.get('pmcid')}.{raw.get('version')}" != article_id:
        raise DataError(RejectReason.INVALID_METADATA, f"expected the metadata of {article_id}, got {_head(content)}")
    if not raw.get("xml_url"):
        raise DataError(RejectReason.INVALID_METADATA, "no xml_url: the service offers no full text of this version")
    media, forbidden = _media_files(raw, article_id)
    texts = {name: _text(raw, name) for name in ("pmid", "doi", "title", "citation", "license_code")}
    return ArticleMetadata(
        article_id=article_id,
        pmcid=known_pmcid(article_id),
        version=int(place["version"]),
        **texts,
        journal=cited_journal(texts["citation"]),
        publication_date=cited_date(texts["citation"]),
        license_group=license_group(texts["license_code"]).value,
        is_open_access=bool(raw.get("is_pmc_openaccess")),
        is_manuscript=bool(raw.get("is_manuscript")),
        is_historical_ocr=bool(raw.get("is_historical_ocr")),
        is_retracted=bool(raw.get("is_retracted")),
        xml=_remote_file(raw["xml_url"], article_id),
        media=media,
        forbidden=forbidden,
    )


def cited_journal(citation: str | None) -> str | None:
    """Journal of a citation: what stands before its first full stop; "Nature. 2020 Sep 16;585:357." -> "Nature"."""
    return (citation or "").partition(". ")[0].strip(" .") or None


def cited_date(citation: str | None) -> str | None:
    """Date of a citation as far as it is given: "2020-09-16", "2020-09" or "2020"."""
    found = _CITED_DATE.search((citation or "").partition(". ")[2])
    if found is None:
        return None
    year, month, day = found.groups()
    number = MONTHS.get((month or "").lower())
    if number is None:
        return str(year)
    return f"{year}-{number:02d}" if day is None else f"{year}-{number:02d}-{int(day):02d}"


def _media_files(raw: Mapping[str, Any], article_id: str) -> tuple[tuple[RemoteFile, ...], tuple[str, ...]]:
    allowed: dict[str, RemoteFile] = {}
    forbidden = []
    for url in raw.get("media_urls") or ():
        try:
            file = _remote_file(url, article_id)
        except DataError:
            forbidden.append(str(url)[:300])
        else:
            allowed[file.name] = file
    return tuple(allowed[name] for name in sorted(allowed)), tuple(forbidden)


def _remote_file(url: object, article_id: str) -> RemoteFile:
    try:
        parts = urlsplit(str(url))
    except ValueError as error:
        raise DataError(RejectReason.FORBIDDEN_KEY, f"{str(url)[:300]!r} is no URL: {error}") from error
    folder, _, name = unquote(parts.path).removeprefix("/").partition("/")
    if parts.scheme != "s3" or parts.netloc != BUCKET or folder != article_id:
        raise DataError(RejectReason.FORBIDDEN_KEY, f"{str(url)[:300]!r} is not below s3://{BUCKET}/{article_id}/")
    checked_key(article_id, name)
    md5 = parse_qs(parts.query).get("md5", [""])[0].lower()
    return RemoteFile(name, md5 if _MD5.fullmatch(md5) else None)


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return None if value in (None, "") else str(value)


def _head(content: bytes) -> str:
    return repr(content[:80].decode("utf-8", "replace"))
