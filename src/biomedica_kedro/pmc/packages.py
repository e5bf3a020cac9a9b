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
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import ClassVar

import orjson
import pyarrow as pa

from biomedica_kedro.pmc.file_names import is_thumbnail_folder
from biomedica_kedro.pmc.front import Front, articles_in, read_front
from biomedica_kedro.pmc.identifiers import ARTICLE_ID, pmcid_of
from biomedica_kedro.pmc.metadata import metadata_name
from biomedica_kedro.pmc.source import BUCKET, IMAGE_SUFFIXES, Origin, SourceError, checked_key, inventory_table
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.unpack import ARCHIVE_SUFFIXES, read_members

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
    origin: ClassVar[Origin] = Origin.PACKAGES

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
    contents: dict[str, bytes] = {}
    images: dict[str, dict[str, bytes]] = {}
    try:
        for name, content in _package_files(root / package):
            if name.lower().endswith(IMAGE_SUFFIXES):
                images.setdefault(PurePosixPath(name).name, {})[name] = content
            else:
                contents[name] = content
    except OSError as error:
        raise DataError(RejectReason.DOWNLOAD_FAILED, f"package {location}: {error.strerror or error}") from error
    texts = _own_texts(contents)
    found = [text for text in texts if text.name == member or _article_id(text.front, location, "") == article_id]
    if not found and (member or not texts):
        n_images = sum(map(len, images.values()))
        raise DataError(RejectReason.NOT_AN_ARTICLE, f"package {location} holds no JATS article ({n_images} images)")
    text = (found or texts)[0]
    files = {f"{article_id}.xml": text.xml}
    for name in sorted(images):
        files[name] = images[name][min(images[name], key=lambda path: _remoteness(path, text.name, images[name][path]))]
    return {metadata_name(article_id): _metadata(article_id, text.front, files), **files}


@dataclass(frozen=True, slots=True)
class _Text:
    """An article of a package: the path of its file, with a number where the file holds several."""

    name: str
    xml: bytes
    front: Front


def _own_texts(contents: Mapping[str, bytes]) -> list[_Text]:
    """The articles among the texts of a package or a folder.

    Beside an .nxml file, which is PMC's name of the article itself, other XML is supplement; so is, beside articles
    that say which they are, one that does not.
    """
    texts = []
    for name, content in sorted(contents.items()):
        articles = articles_in(content)
        for number, xml in enumerate(articles, start=1):
            texts.append(_Text(f"{name}{_MEMBER}{number}" if len(articles) > 1 else name, xml, read_front(xml)))
    for is_own in (lambda text: ".nxml" in text.name.lower(), lambda text: _identity(text.front) is not None):
        texts = list(filter(is_own, texts)) or texts
    return texts


def _remoteness(path: str, text: str, content: bytes) -> tuple[bool, int, int]:
    """Orders images of one name: those in a folder of thumbnails last, then by folders from the text, then by size."""
    folders, own = PurePosixPath(path).parent.parts, PurePosixPath(text.partition(_MEMBER)[0]).parent.parts
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(folders, own, strict=False)))
    return any(map(is_thumbnail_folder, folders)), len(folders) + len(own) - 2 * shared, -len(content)


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
        "is_retracted": front.is_retracted or None,  # what front matter does not say, nobody has denied
        "license_code": front.license_code,
        "xml_url": urls[0],
        "media_urls": urls[1:],
    }
    return orjson.dumps({name: value for name, value in facts.items() if value is not None}, option=orjson.OPT_INDENT_2)


def _package_files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Images and texts of a package."""
    if package.is_file():
        yield from read_members(package, lambda name: _is_wanted(name, (*TEXT_SUFFIXES, *IMAGE_SUFFIXES)))
        return
    for path in sorted(package.iterdir()):
        if path.is_file() and not path.is_symlink() and _is_wanted(path.name, (*TEXT_SUFFIXES, *IMAGE_SUFFIXES)):
            yield path.name, path.read_bytes()


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return not PurePosixPath(name).name.startswith(".") and name.lower().endswith(suffixes)


def _walk(root: Path) -> Iterator[tuple[str, str, str, str]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        yield from _unpacked_articles(root, here, sorted(name for name in names if not name.startswith(".")))
        for name in sorted(names):
            if name.lower().endswith(ARCHIVE_SUFFIXES):
                yield from _packed_articles(root, here / name)


def _unpacked_articles(root: Path, folder: Path, names: list[str]) -> Iterator[tuple[str, str, str, str]]:
    texts = _own_texts({name: (folder / name).read_bytes() for name in names if name.lower().endswith(TEXT_SUFFIXES)})
    if not texts:
        return
    images = hashlib.sha256()
    for name in names:
        if name.lower().endswith(IMAGE_SUFFIXES):
            images.update(f"{name}\0{_md5_of(folder / name)}\n".encode())
    place = str(folder.relative_to(root))
    for text in texts:
        location = f"{place}{_MEMBER}{text.name}" if len(texts) > 1 else place
        etag = hashlib.md5(text.xml + images.digest(), usedforsecurity=False).hexdigest()
        yield _article_id(text.front, location, folder.name if len(texts) == 1 else ""), etag, "", location


def _packed_articles(root: Path, package: Path) -> Iterator[tuple[str, str, str, str]]:
    place = str(package.relative_to(root))
    etag = _etag_of(package)
    name = next(package.name[: -len(suffix)] for suffix in ARCHIVE_SUFFIXES if package.name.lower().endswith(suffix))
    if ARTICLE_ID.fullmatch(f"{name}.1"):
        yield f"{name}.1", etag, "", place
        return
    try:
        texts = _own_texts(dict(read_members(package, lambda path: _is_wanted(path, TEXT_SUFFIXES))))
    except DataError:
        texts = []
    if not texts:
        yield _synthetic_id(place), etag, "", place
    for text in texts:
        location = f"{place}{_MEMBER}{text.name}" if len(texts) > 1 else place
        yield _article_id(text.front, location, ""), etag, "", location


def _article_id(front: Front, location: str, name: str) -> str:
    if front.pmcid is not None:
        return f"{front.pmcid}.{front.version}"
    if ARTICLE_ID.fullmatch(f"{name}.1"):
        return f"{name}.1"
    return _synthetic_id(_identity(front) or location)


def _identity(front: Front) -> str | None:
    return front.pmcid or front.doi or front.publisher_id


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
