"""Packages: a folder of articles as files, for those who hold an old mirror or a publisher's delivery.

    oa_package/08/e0/PMC13900.tar.gz      a legacy package of PMC
    delivery/issue-3.zip                  several articles in one package
    elife-30274/main.jats.xml, fig1.jpg   an unpacked article
    texts/*.xml                           texts side by side

Each article is served as if it lay in the cloud: its metadata are made from the front matter, with the md5 of each
file. An article without a PMCID gets a stable one of its own that begins with a zero, as no real one does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

import orjson
import pyarrow as pa

from biomedica_kedro.pmc.front import Front, is_article, read_front
from biomedica_kedro.pmc.identifiers import ARTICLE_ID, pmcid_of
from biomedica_kedro.pmc.metadata import metadata_name
from biomedica_kedro.pmc.source import BUCKET, IMAGE_SUFFIXES, SourceError, checked_key, inventory_table
from biomedica_kedro.pmc.unpack import ARCHIVE_SUFFIXES, read_members
from biomedica_kedro.records import DataError, RejectReason

logger = logging.getLogger(__name__)

TEXT_SUFFIXES = (".nxml", ".xml", ".jats")

_MEMBER = "::"
_GZIP_TRAILER_BYTES = 8
_SYNTHETIC_DIGITS = 15


@dataclass(frozen=True, slots=True)
class PackagesSource:
    """Articles of a folder of packages.

    Attributes:
        path: the folder; walked to any depth.
    """

    path: Path
    articles_in_flight: ClassVar[int] = 2

    def list_articles(self, pmcids: Collection[str] | None = None) -> pa.Table:
        """See `Source`. An article found twice is listed once; what does not open is listed under an id of its own."""
        if not self.path.is_dir():
            raise SourceError(
                f"no folder of packages at {self.path}: expected tar.gz or zip files, or unpacked articles"
            )
        found = list(_walk(self.path))
        if not found:
            raise SourceError(f"nothing to read in {self.path}: expected tar.gz or zip files, or unpacked articles")
        rows = [row for row in found if pmcids is None or pmcid_of(row[0]) in pmcids]
        table = inventory_table(rows)
        if len(rows) > table.num_rows:
            logger.info("%d packages hold an article that another one holds too", len(rows) - table.num_rows)
        return table

    def open_article(self, article_id: str, location: str) -> PackagedArticle:
        """See `Source`."""
        return PackagedArticle(self.path, article_id, location)


@dataclass(slots=True)
class PackagedArticle:
    """Files of one article of a package; the package is read once, when the first of them is asked for."""

    root: Path
    article_id: str
    location: str
    _files: dict[str, bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        """See `ArticleFiles`."""
        checked_key(self.article_id, name)
        content = (await asyncio.to_thread(self._load)).get(name)
        if content is None:
            raise DataError(RejectReason.NOT_FOUND, f"package {self.location} holds no {name}")
        if len(content) > max_bytes:
            raise DataError(RejectReason.TOO_LARGE, f"{name} has {len(content)} bytes, more than {max_bytes}")
        return content

    async def sizes(self) -> Mapping[str, int]:
        """See `ArticleFiles`."""
        return {name: len(content) for name, content in (await asyncio.to_thread(self._load)).items()}

    def _load(self) -> dict[str, bytes]:
        with self._lock:
            if self._files is None:
                self._files = _read_package(self.root, self.article_id, self.location)
            return self._files


def _read_package(root: Path, article_id: str, location: str) -> dict[str, bytes]:
    package, _, member = location.partition(_MEMBER)
    texts: dict[str, bytes] = {}
    images: dict[str, bytes] = {}
    try:
        for name, content in _package_files(root / package, member):
            if name.lower().endswith(IMAGE_SUFFIXES):
                images.setdefault(PurePosixPath(name).name, content)
            elif is_article(content):
                texts[name] = content
    except OSError as error:
        raise DataError(RejectReason.DOWNLOAD_FAILED, f"package {location}: {error}") from error
    text = texts.get(member) if member else next(iter(texts.values()), None)
    if text is None:
        raise DataError(RejectReason.NOT_AN_ARTICLE, f"package {location} holds no JATS article ({len(images)} images)")
    text_name = f"{article_id}.xml"
    files = {text_name: text, **dict(sorted(images.items()))}
    return {metadata_name(article_id): _metadata(article_id, read_front(text), files), **files}


def _metadata(article_id: str, front: Front, files: Mapping[str, bytes]) -> bytes:
    urls = [
        f"s3://{BUCKET}/{article_id}/{name}?md5={hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        for name, content in files.items()
    ]
    pmcid, _, version = article_id.partition(".")
    facts = {
        "pmcid": pmcid,
        "version": int(version),
        "pmid": front.pmid,
        "doi": front.doi,
        "title": front.title,
        "citation": front.citation,
        "is_pmc_openaccess": True,
        "is_manuscript": front.is_manuscript,
        "is_historical_ocr": False,
        "is_retracted": front.is_retracted,
        "license_code": front.license_code,
        "xml_url": urls[0],
        "media_urls": urls[1:],
    }
    return orjson.dumps({name: value for name, value in facts.items() if value is not None}, option=orjson.OPT_INDENT_2)


def _package_files(package: Path, member: str = "") -> Iterator[tuple[str, bytes]]:
    """Images and texts of a package; of the texts only `member`, if given."""

    def is_wanted(name: str) -> bool:
        plain = PurePosixPath(name).name
        is_text = name == member if member else name.lower().endswith(TEXT_SUFFIXES)
        return not plain.startswith(".") and (is_text or name.lower().endswith(IMAGE_SUFFIXES))

    if package.is_file():
        yield from read_members(package, is_wanted)
        return
    for path in sorted(package.iterdir()):
        if path.is_file() and not path.is_symlink() and is_wanted(path.name):
            yield path.name, path.read_bytes()


def _walk(root: Path) -> Iterator[tuple[str, str, str, str]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        yield from _unpacked_articles(root, here, sorted(name for name in names if not name.startswith(".")))
        for name in sorted(names):
            if name.lower().endswith(ARCHIVE_SUFFIXES):
                yield from _packed_articles(root, here / name)


def _unpacked_articles(root: Path, folder: Path, names: list[str]) -> Iterator[tuple[str, str, str, str]]:
    texts = {name: (folder / name).read_bytes() for name in names if name.lower().endswith(TEXT_SUFFIXES)}
    texts = {name: text for name, text in texts.items() if is_article(text)}
    if not texts:
        return
    images = hashlib.sha256()
    for name in names:
        if name.lower().endswith(IMAGE_SUFFIXES):
            images.update(f"{name}\0{_md5_of(folder / name)}\n".encode())
    place = str(folder.relative_to(root))
    for name, text in texts.items():
        location = f"{place}{_MEMBER}{name}" if len(texts) > 1 else place
        etag = hashlib.md5(text + images.digest(), usedforsecurity=False).hexdigest()
        yield _article_id(read_front(text), location, folder.name if len(texts) == 1 else ""), etag, "", location


def _packed_articles(root: Path, package: Path) -> Iterator[tuple[str, str, str, str]]:
    place = str(package.relative_to(root))
    etag = _etag_of(package)
    name = next(package.name[: -len(suffix)] for suffix in ARCHIVE_SUFFIXES if package.name.lower().endswith(suffix))
    if ARTICLE_ID.fullmatch(f"{name}.1"):
        yield f"{name}.1", etag, "", place
        return
    fronts: dict[str, Front] = {}
    try:
        for member, content in read_members(package, lambda path: path.lower().endswith(TEXT_SUFFIXES)):
            if not PurePosixPath(member).name.startswith(".") and is_article(content):
                fronts[member] = read_front(content)
    except DataError:
        fronts.clear()
    if not fronts:
        yield _synthetic_id(place), etag, "", place
    for member, front in sorted(fronts.items()):
        location = f"{place}{_MEMBER}{member}" if len(fronts) > 1 else place
        yield _article_id(front, location, ""), etag, "", location


def _article_id(front: Front, location: str, name: str) -> str:
    if front.pmcid is not None:
        return f"{front.pmcid}.{front.version}"
    if ARTICLE_ID.fullmatch(f"{name}.1"):
        return f"{name}.1"
    return _synthetic_id(front.doi or front.publisher_id or location)


def _synthetic_id(identity: str) -> str:
    number = int.from_bytes(hashlib.sha256(identity.lower().encode()).digest()[:8], "big")
    return f"PMC0{number % 10**_SYNTHETIC_DIGITS:0{_SYNTHETIC_DIGITS}d}.1"


def _etag_of(package: Path) -> str:
    """Tells one content from another without reading it all where the format allows: gzip and zip hold checksums."""
    digest = hashlib.md5(usedforsecurity=False)
    with package.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if package.name.lower().endswith((".gz", ".tgz")):
            file.seek(max(0, size - _GZIP_TRAILER_BYTES))
            digest.update(file.read() + str(size).encode())
            return digest.hexdigest()
    if zipfile.is_zipfile(package):
        try:
            with zipfile.ZipFile(package) as members:
                for member in members.infolist():
                    digest.update(f"{member.filename}\0{member.CRC}\0{member.file_size}\n".encode())
            return digest.hexdigest()
        except zipfile.BadZipFile:
            pass
    return _md5_of(package)


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
