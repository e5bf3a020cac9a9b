"""The cloud: PubMed Central's open bucket over anonymous HTTPS.

Requests are retried, and broken bodies continued, by `http`. Few objects above 8 MB are under way at once, so that
memory stays bounded. Listings are S3's ListObjectsV2.
Source: README.txt of the bucket `pmc-oa-opendata`.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote, urlencode
from weakref import WeakKeyDictionary

import pyarrow as pa

from biomedica_kedro.http import RETRY_POLICY, RetryPolicy, get_with_retries, run_bounded
from biomedica_kedro.pmc.identifiers import ARTICLE_ID
from biomedica_kedro.pmc.inventory import REPORTS, newest_stamp, parse_manifest, read_inventory
from biomedica_kedro.pmc.source import Origin, SourceError, checked_key, inventory_table
from biomedica_kedro.records import DataError, RejectReason

ENDPOINT = "https://pmc-oa-opendata.s3.amazonaws.com"

_LARGE_BYTES = 8 << 20
_LARGE_AT_ONCE = 4
_MAX_LISTING_BYTES = 64 << 20
_MAX_PART_BYTES = 4 << 30
_METADATA_KEY = re.compile(r"metadata/(PMC\d+\.\d+)\.json")
_CONTENTS = re.compile(r"<Contents>(.*?)</Contents>", re.DOTALL)
_PREFIXES = re.compile(r"<CommonPrefixes>\s*<Prefix>([^<]*)</Prefix>", re.DOTALL)
_TOKEN = re.compile(r"<NextContinuationToken>([^<]*)<")


@dataclass(frozen=True, slots=True)
class CloudSource:
    """Articles of the bucket.

    Attributes:
        endpoint: URL of the bucket: the service's own, or that of a private copy.
        requests_in_flight: requests at once, in each process.
        retry: how long to go on trying.
    """

    endpoint: str = ENDPOINT
    requests_in_flight: int = 64
    retry: RetryPolicy = RETRY_POLICY
    origin: ClassVar[Origin] = Origin.CLOUD

    @property
    def articles_in_flight(self) -> int:
        """See `Source`."""
        return self.requests_in_flight

    def list_articles(self, pmcids: Collection[str] | None = None) -> pa.Table:
        """See `Source`. Some PMCIDs are listed one by one, everything by the newest inventory."""
        try:
            if pmcids is not None:
                found = run_bounded(self._list_versions, sorted(pmcids), limit=self.requests_in_flight)
                return inventory_table([row for rows in found for row in rows])
            return self._read_inventory()
        except DataError as error:
            raise SourceError(f"the article listing of {self.endpoint} cannot be read: {error}") from error

    def open_article(self, article_id: str, location: str = "") -> CloudArticle:
        """See `Source`."""
        return CloudArticle(self, article_id)

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """Content of an object.

        Raises:
            DataError: NOT_FOUND, TOO_LARGE or DOWNLOAD_FAILED.
        """
        limits = _limits(self.requests_in_flight)
        url = self._url(key)
        async with limits.requests:
            try:
                return await get_with_retries(url, self.retry, max_bytes=min(max_bytes, _LARGE_BYTES))
            except DataError as error:
                if error.reason is not RejectReason.TOO_LARGE or max_bytes <= _LARGE_BYTES:
                    raise
        async with limits.large:
            return await get_with_retries(url, self.retry, max_bytes=max_bytes)

    def _url(self, key: str) -> str:
        return f"{self.endpoint.rstrip('/')}/{quote(key, safe='/~')}"

    def _read_inventory(self) -> pa.Table:
        prefix = f"{REPORTS}/"
        (folders,) = run_bounded(lambda start: self._list(start, delimiter="/"), [prefix], limit=1)
        stamp = newest_stamp(name.removeprefix(prefix).rstrip("/") for name in folders.prefixes)
        if stamp is None:
            raise SourceError(f"no inventory below {self.endpoint}/{prefix}; give pmcids, or another endpoint")
        (raw,) = self._get_all([f"{prefix}{stamp}/manifest.json"])
        manifest = parse_manifest(raw)
        parts = dict(
            zip((key for key, _ in manifest.parts), self._get_all([k for k, _ in manifest.parts]), strict=True)
        )
        return read_inventory(manifest, parts.__getitem__)

    def _get_all(self, keys: Iterable[str]) -> list[bytes]:
        return run_bounded(lambda key: self.get(key, max_bytes=_MAX_PART_BYTES), list(keys), limit=_LARGE_AT_ONCE)

    async def _list_versions(self, pmcid: str) -> list[tuple[str, str, str, str]]:
        # the dot keeps PMC1137036 apart from PMC11370360
        listing = await self._list(f"metadata/{pmcid}.")
        rows = []
        for key, facts in listing.objects.items():
            found = _METADATA_KEY.fullmatch(key)
            if found is not None and ARTICLE_ID.fullmatch(found[1]):
                rows.append((found[1], facts["ETag"].strip('"'), facts.get("LastModified", ""), ""))
        return rows

    async def _list(self, prefix: str, *, delimiter: str = "") -> _Listing:
        listing = _Listing({}, [])
        query = {"list-type": "2", "prefix": prefix} | ({"delimiter": delimiter} if delimiter else {})
        while True:
            url = f"{self.endpoint.rstrip('/')}/?{urlencode(query)}"
            page = (await get_with_retries(url, self.retry, max_bytes=_MAX_LISTING_BYTES)).decode("utf-8", "replace")
            listing.add(page)
            token = _TOKEN.search(page)
            if token is None:
                return listing
            query["continuation-token"] = html.unescape(token[1])


@dataclass(frozen=True, slots=True)
class CloudArticle:
    """Files of one article of the cloud."""

    source: CloudSource
    article_id: str

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        """See `ArticleFiles`."""
        return await self.source.get(checked_key(self.article_id, name), max_bytes=max_bytes)

    async def sizes(self) -> Mapping[str, int]:
        """See `ArticleFiles`."""
        prefix = f"{self.article_id}/"
        listing = await self.source._list(prefix)
        return {key.removeprefix(prefix): int(facts["Size"]) for key, facts in listing.objects.items()}


@dataclass(frozen=True, slots=True)
class _Listing:
    objects: dict[str, dict[str, str]]
    prefixes: list[str]

    def add(self, page: str) -> None:
        for entry in _CONTENTS.findall(page):
            facts = {name: html.unescape(value) for name, value in re.findall(r"<(\w+)>([^<]*)</\1>", entry)}
            self.objects[facts["Key"]] = facts
        self.prefixes.extend(html.unescape(prefix) for prefix in _PREFIXES.findall(page))


@dataclass(frozen=True, slots=True)
class _Limits:
    requests: asyncio.Semaphore
    large: asyncio.Semaphore


_LIMITS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Limits] = WeakKeyDictionary()


def _limits(requests_in_flight: int) -> _Limits:
    """The limits of the running event loop: all articles of a batch share them."""
    loop = asyncio.get_running_loop()
    if loop not in _LIMITS:
        _LIMITS[loop] = _Limits(asyncio.Semaphore(requests_in_flight), asyncio.Semaphore(_LARGE_AT_ONCE))
    return _LIMITS[loop]
