"""The layout in which PMC's cloud serves articles: objects under versioned prefixes, metadata JSON, inventory.

Source: README of the bucket pmc-oa-opendata (2026). URLs carry the md5 of what they point at; the inventory lists the
metadata files alone, and its ETag changes when any file of the article does.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

BUCKET = "pmc-oa-opendata"
INVENTORY_PREFIX = f"inventory-reports/{BUCKET}/metadata"
INVENTORY_SCHEMA = "Bucket, Key, LastModifiedDate, ETag"
INVENTORY_STAMP = "2026-11-01T01-00Z"
_ROWS_PER_PART = 200


@dataclass(slots=True)
class ArticleObjects:
    """Files of one article version as they will be served; faults are put in by changing them.

    Args:
        article_id: "PMC90000001.1".
        fields: metadata fields that describe the article, without URLs.
        xml: the JATS document.
        text: the plain text.
        media: images and supplements by file name.
        md5: wrong checksums to publish, by file name.
        unserved: names listed in the metadata and absent from the bucket.
        url_bucket: bucket that the URLs name.
        metadata: bytes to serve instead of the metadata JSON.
    """

    article_id: str
    fields: Mapping[str, object]
    xml: bytes
    text: bytes
    media: dict[str, bytes]
    md5: dict[str, str] = field(default_factory=dict)
    unserved: set[str] = field(default_factory=set)
    url_bucket: str = BUCKET
    metadata: bytes | None = None

    def served(self) -> dict[str, bytes]:
        """Key and content of every object, the metadata under both of its keys."""
        article_id = self.article_id
        metadata = self.metadata_json()
        objects = {
            f"{article_id}/{article_id}.xml": self.xml,
            f"{article_id}/{article_id}.txt": self.text,
            f"{article_id}/{article_id}.json": metadata,
            f"metadata/{article_id}.json": metadata,
        }
        objects |= {f"{article_id}/{name}": content for name, content in self.media.items()}
        return {key: content for key, content in objects.items() if key.rpartition("/")[2] not in self.unserved}

    def metadata_json(self) -> bytes:
        """The article's metadata as PMC writes it; `media_urls` is absent when there are none."""
        if self.metadata is not None:
            return self.metadata
        urls = {
            "xml_url": self._url(f"{self.article_id}.xml", self.xml),
            "text_url": self._url(f"{self.article_id}.txt", self.text),
        }
        media = [self._url(name, content) for name, content in sorted(self.media.items())]
        return orjson.dumps({**self.fields, **urls, **({"media_urls": media} if media else {})})

    def _url(self, name: str, content: bytes) -> str:
        digest = self.md5.get(name, md5_of(content))
        return f"s3://{self.url_bucket}/{self.article_id}/{name}?md5={digest}"


def md5_of(content: bytes) -> str:
    """Hexadecimal md5, as PMC publishes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write_objects(folder: Path, objects: Mapping[str, bytes]) -> None:
    """Write objects under their keys."""
    for key, content in objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def inventory_objects(rows: Iterable[tuple[str, str, str]]) -> dict[str, bytes]:
    """The daily inventory: a manifest and gzipped CSV parts without header, the same bytes for the same rows.

    Args:
        rows: key, time of last change and ETag of each metadata file.
    """
    ordered = sorted(rows)
    objects: dict[str, bytes] = {}
    files = []
    for start in range(0, len(ordered), _ROWS_PER_PART):
        lines = io.StringIO()
        writer = csv.writer(lines, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows((BUCKET, *row) for row in ordered[start : start + _ROWS_PER_PART])
        content = gzip.compress(lines.getvalue().encode(), mtime=0)
        key = f"{INVENTORY_PREFIX}/data/{md5_of(content)}.csv.gz"
        objects[key] = content
        files.append({"key": key, "size": len(content), "MD5checksum": md5_of(content)})
    manifest = {
        "sourceBucket": BUCKET,
        "destinationBucket": f"arn:aws:s3:::{BUCKET}",
        "version": "2016-11-30",
        "creationTimestamp": "1793494800000",
        "fileFormat": "CSV",
        "fileSchema": INVENTORY_SCHEMA,
        "files": files,
    }
    objects[f"{INVENTORY_PREFIX}/{INVENTORY_STAMP}/manifest.json"] = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    return objects


def digest_of_folder(folder: Path) -> str:
    """One sha256 over the names and contents of all files under `folder`."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
