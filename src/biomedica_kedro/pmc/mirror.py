"""A mirror: the cloud's key layout in a folder or behind any fsspec URL (an institute's copy, `aws s3 sync`)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, cast

import pyarrow as pa

from biomedica_kedro.pmc.identifiers import ARTICLE_ID, pmcid_of
from biomedica_kedro.pmc.inventory import REPORTS, newest_stamp, parse_manifest, read_inventory
from biomedica_kedro.pmc.metadata import metadata_name
from biomedica_kedro.pmc.source import Origin, SourceError, checked_key, inventory_table
from biomedica_kedro.records import DataError, RejectReason

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@dataclass(frozen=True, slots=True)
class MirrorSource:
    """Articles of a mirror.

    Attributes:
        url: folder or fsspec URL under which the keys lie; with an inventory when it has one, else the article folders
            are listed and the md5 of their metadata stands for the etag.
    """

    url: str
    articles_in_flight: ClassVar[int] = 16
    origin: ClassVar[Origin] = Origin.MIRROR

    def list_articles(self, pmcids: Collection[str] | None = None) -> pa.Table:
        """See `Source`."""
        files, root = _open(self.url)
        if not files.isdir(root):
            raise SourceError(f"no mirror of PubMed Central at {self.url}: expected folders named like PMC10009416.1")
        reports = f"{root}/{REPORTS}"
        stamp = newest_stamp(_names(files, reports)) if files.isdir(reports) else None
        if stamp is not None:
            manifest = parse_manifest(cast(bytes, files.cat_file(f"{reports}/{stamp}/manifest.json")))
            return read_inventory(manifest, lambda key: cast(bytes, files.cat_file(f"{root}/{key}")), pmcids)
        return _list_folders(files, root, pmcids)

    def open_article(self, article_id: str, location: str = "") -> MirroredArticle:
        """See `Source`."""
        return MirroredArticle(self.url, article_id)


@dataclass(frozen=True, slots=True)
class MirroredArticle:
    """Files of one article of a mirror."""

    url: str
    article_id: str

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        """See `ArticleFiles`."""
        return await asyncio.to_thread(self._read, name, max_bytes)

    async def sizes(self) -> Mapping[str, int]:
        """See `ArticleFiles`."""
        return await asyncio.to_thread(self._sizes)

    def _read(self, name: str, max_bytes: int) -> bytes:
        files, root = _open(self.url)
        key = checked_key(self.article_id, name)
        try:
            size = files.size(f"{root}/{key}")
            if size is not None and size > max_bytes:
                raise DataError(RejectReason.TOO_LARGE, f"{key} has {size} bytes, more than {max_bytes}")
            return cast(bytes, files.cat_file(f"{root}/{key}"))
        except FileNotFoundError as error:
            raise DataError(RejectReason.NOT_FOUND, f"the mirror holds no {key}") from error
        except OSError as error:
            what = f"{key}: {type(error).__name__}: {error.strerror or error}"
            raise DataError(RejectReason.DOWNLOAD_FAILED, what) from error

    def _sizes(self) -> dict[str, int]:
        files, root = _open(self.url)
        entries = files.ls(f"{root}/{self.article_id}", detail=True)
        return {PurePosixPath(entry["name"]).name: int(entry["size"]) for entry in entries if entry["type"] == "file"}


@cache
def _open(url: str) -> tuple[AbstractFileSystem, str]:
    import fsspec

    files, root = fsspec.url_to_fs(url)
    return files, root.rstrip("/")


def _names(files: AbstractFileSystem, folder: str) -> list[str]:
    return [PurePosixPath(path).name for path in files.ls(folder, detail=False)]


def _list_folders(files: AbstractFileSystem, root: str, pmcids: Collection[str] | None) -> pa.Table:
    rows = []
    for name in _names(files, root):
        if ARTICLE_ID.fullmatch(name) and (pmcids is None or pmcid_of(name) in pmcids):
            try:
                content = files.cat_file(f"{root}/{name}/{metadata_name(name)}")
            except FileNotFoundError:
                content = b""
            rows.append((name, hashlib.md5(content, usedforsecurity=False).hexdigest(), "", ""))
    return inventory_table(rows)
