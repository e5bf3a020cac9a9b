"""Fetch a batch's articles into the archive: metadata, then full text, then only the images a figure cites.

Every file is checked (key, size, md5 from the metadata, first bytes) and written down once it is whole, so a killed
run fetches nothing complete twice; the tar is written from these in sorted order, so its bytes do not depend
on how often the run was interrupted. Unchanged articles (by etag) come from the last archive.

In = archived + rejects: an article whose metadata or text cannot be had is one reject and is not in the archive; an
image that cannot be had is one too, and its article is archived without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import Field

from biomedica_kedro.http import run_bounded
from biomedica_kedro.pmc.fetched_files import ArticleStore, FetchedFiles, PreviousArchive, is_intact
from biomedica_kedro.pmc.file_names import file_name_of
from biomedica_kedro.pmc.media import check_article, check_image, cited_images
from biomedica_kedro.pmc.metadata import MAX_METADATA_BYTES, ArticleMetadata, RemoteFile, metadata_name, parse_metadata
from biomedica_kedro.pmc.source import ArticleFiles, Outage, Source
from biomedica_kedro.records import HOW, DataError, Options, Reject, RejectReason
from biomedica_kedro.stages.identity import digest_of
from biomedica_kedro.stages.progress import Progress

Checked = TypeVar("Checked")

STAGE = "fetch_articles"
_TRIES_ON_WRONG_MD5 = 3


class MediaPolicy(StrEnum):
    """Which of an article's images to fetch."""

    CITED = "cited"
    ALL = "all"
    NONE = "none"


class FetchOptions(Options):
    """How to fetch.

    Attributes:
        concurrency: articles under way at once, unless the source stands fewer.
        media: `cited` takes the images a figure or table cites, `all` every image, `none` no media.
        max_xml_bytes: larger texts are refused.
        max_image_bytes: larger images are refused.
        max_failed_share: when more than this share of a batch's articles cannot be downloaded, the source is taken to
            be down and the stage stops instead of recording them; what was fetched is kept.
        attempt: raise it to try again what failed; complete articles are not fetched again.
    """

    concurrency: Annotated[int, HOW] = Field(default=64, ge=1, le=1024)
    media: MediaPolicy = MediaPolicy.CITED
    max_xml_bytes: int = Field(default=128 << 20, ge=1)
    max_image_bytes: int = Field(default=64 << 20, ge=1)
    max_failed_share: Annotated[float, HOW] = Field(default=0.5, ge=0, le=1)
    attempt: int = Field(default=0, ge=0)

    def recipe(self) -> str:
        """Digest of what decides the content of the archive; the rest only says how it is got."""
        return digest_of(self.model_dump(mode="json", include={"media", "max_xml_bytes", "max_image_bytes"}))


@dataclass(slots=True)
class Download:
    """What came of one article: the store that holds its files, their names and kinds in archive order, failures."""

    article_id: str
    store: ArticleStore
    files: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Reject] = field(default_factory=list)

    @property
    def is_transient(self) -> bool:
        """Whether the article itself failed for a reason that may go away."""
        return not self.files and any(reject.reason is RejectReason.DOWNLOAD_FAILED for reject in self.failures)


@dataclass(slots=True)
class Fetcher:
    """Fetches the selected articles of a batch."""

    source: Source
    fetched: FetchedFiles
    kept: PreviousArchive
    options: FetchOptions

    def fetch(self, articles: Sequence[Mapping[str, Any]], batch: str) -> list[Download]:
        """Fetch articles.

        Args:
            articles: rows with article_id, etag and location.
            batch: name of the batch, for progress.
        Returns:
            What came of each, in order of article id.
        Raises:
            SourceError: when the source is down; see `FetchOptions.max_failed_share`.
        """
        progress = Progress(f"{STAGE}, batch {batch}", len(articles), "articles")
        outage = Outage(self.options.max_failed_share, "fetch_articles.max_failed_share")

        async def fetch(row: Mapping[str, Any]) -> Download:
            download = self._reuse(row) or await self._fetch_article(row)
            outage.count(f"{row['article_id']}: {download.failures[0].detail}" if download.is_transient else None)
            progress.advance()
            return download

        ordered = sorted(articles, key=lambda row: str(row["article_id"]))
        downloads = run_bounded(fetch, ordered, limit=min(self.options.concurrency, self.source.articles_in_flight))
        outage.judge()
        return downloads

    def _reuse(self, row: Mapping[str, Any]) -> Download | None:
        files = self.kept.files(row["article_id"], row["etag"])
        return Download(row["article_id"], self.kept, files) if files else None

    async def _fetch_article(self, row: Mapping[str, Any]) -> Download:
        article_id = str(row["article_id"])
        download = Download(article_id, self.fetched)
        try:
            files = self.source.open_article(article_id, row["location"])
            known = RemoteFile(metadata_name(article_id), None)
            _, metadata = await self._fetch_file(
                files,
                article_id,
                known,
                max_bytes=MAX_METADATA_BYTES,
                check=lambda raw: parse_metadata(raw, article_id),
            )
            text, _ = await self._fetch_file(
                files, article_id, metadata.xml, max_bytes=self.options.max_xml_bytes, check=check_article
            )
        except DataError as error:
            download.failures.append(Reject(article_id, STAGE, error.reason, error.detail))
            return download
        download.files += [(metadata_name(article_id), "json"), (metadata.xml.name, "xml")]
        for url in metadata.forbidden:
            source = f"{article_id}/{file_name_of(url)}"
            download.failures.append(Reject(source, STAGE, RejectReason.FORBIDDEN_KEY, f"media {url!r}"))
        await self._fetch_images(files, metadata, text, download)
        return download

    async def _fetch_images(
        self, files: ArticleFiles, metadata: ArticleMetadata, text: bytes, download: Download
    ) -> None:
        async def fetch(name: str) -> DataError | None:
            try:
                await self._fetch_file(
                    files, metadata.article_id, by_name[name], max_bytes=self.options.max_image_bytes, check=check_image
                )
            except DataError as error:
                return error
            return None

        by_name = {file.name: file for file in metadata.media}
        wanted = _wanted_images(metadata, text, self.options.media)
        for name, error in zip(wanted, await asyncio.gather(*map(fetch, wanted)), strict=True):
            if error is None:
                download.files.append((name, "media"))
            else:
                download.failures.append(Reject(f"{metadata.article_id}/{name}", STAGE, error.reason, error.detail))

    async def _fetch_file(
        self, files: ArticleFiles, article_id: str, file: RemoteFile, *, max_bytes: int,
        check: Callable[[bytes], Checked],
    ) -> tuple[bytes, Checked]:  # fmt: skip
        """The content, from what was fetched before if it lies there, and what `check` makes of it."""
        found = self.fetched.find(article_id, file)
        if found is not None:
            return found, check(found)
        for _ in range(_TRIES_ON_WRONG_MD5):
            content = await files.read(file.name, max_bytes=max_bytes)
            if is_intact(content, file.md5):
                break
        else:
            detail = f"{article_id}/{file.name}: {len(content)} bytes do not have the md5 {file.md5} of the metadata"
            raise DataError(RejectReason.CHECKSUM_MISMATCH, detail)
        checked = check(content)
        self.fetched.write(article_id, file.name, content)
        return content, checked


def _wanted_images(metadata: ArticleMetadata, text: bytes, policy: MediaPolicy) -> list[str]:
    if policy is MediaPolicy.NONE:
        return []
    return sorted(metadata.image_names) if policy is MediaPolicy.ALL else cited_images(text, metadata.image_names)
