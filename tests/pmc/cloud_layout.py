"""Tiny articles in the cloud's key layout, written to a folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

BUCKET = "pmc-oa-opendata"


def jpeg(shade: int = 128, size: int = 8) -> bytes:
    """A small JPEG; another shade is another file."""
    buffer = io.BytesIO()
    Image.new("L", (size, size), shade).save(buffer, "JPEG")
    return buffer.getvalue()


def article_xml(*hrefs: str) -> bytes:
    """An article that cites these files, a figure each."""
    figures = "".join(
        f'<fig id="F{n}"><caption><p>Caption {n}.</p></caption><graphic xlink:href="{href}"/></fig>'
        for n, href in enumerate(hrefs, start=1)
    )
    return (
        f'<article xmlns:xlink="http://www.w3.org/1999/xlink"><front/><body><sec>{figures}</sec></body></article>'
    ).encode()


def write_article(
    root: Path,
    article_id: str,
    *,
    media: Mapping[str, bytes] | None = None,
    xml: bytes | None = None,
    **overrides: object,
) -> dict[str, object]:
    """Write one article; `overrides` replace or add keys of its metadata, None removes one. Returns the metadata."""
    media = {"fig-g001.jpg": jpeg()} if media is None else media
    xml = article_xml(*media) if xml is None else xml
    folder = root / article_id
    folder.mkdir(parents=True, exist_ok=True)
    pmcid, _, version = article_id.partition(".")
    metadata: dict[str, object] = {
        "pmcid": pmcid,
        "version": int(version),
        "pmid": int(pmcid.removeprefix("PMC")) + 1,
        "doi": f"10.1234/{pmcid}",
        "title": f"Title of {article_id}",
        "citation": "J Tests. 2021 Mar 5;12(3):1-9.",
        "is_pmc_openaccess": True,
        "is_manuscript": False,
        "is_historical_ocr": False,
        "is_retracted": False,
        "license_code": "CC BY",
        "xml_url": _url(article_id, f"{article_id}.xml", xml),
        "media_urls": [_url(article_id, name, content) for name, content in media.items()],
    }
    metadata = {key: value for key, value in (metadata | overrides).items() if value is not None}
    for name, content in {f"{article_id}.xml": xml, **media}.items():
        (folder / name).write_bytes(content)
    for path in (folder / f"{article_id}.json", root / "metadata" / f"{article_id}.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(metadata))
    return metadata


def write_inventory(root: Path, stamp: str = "2026-01-02T01-00Z", *, schema: str | None = None) -> None:
    """Write the inventory report of what lies under `root/metadata`, in two parts."""
    reports = root / f"inventory-reports/{BUCKET}/metadata"
    rows = [
        f'"{BUCKET}","metadata/{path.name}","2026-01-01T00:00:00.000Z","{_md5(path.read_bytes())}"\n'
        for path in sorted((root / "metadata").glob("*.json"))
    ]
    files = []
    (reports / "data").mkdir(parents=True, exist_ok=True)
    for n, part in enumerate((rows[::2], rows[1::2])):
        content = gzip.compress("".join(part).encode(), mtime=0)
        (reports / "data" / f"{stamp}-{n}.csv.gz").write_bytes(content)
        key = f"inventory-reports/{BUCKET}/metadata/data/{stamp}-{n}.csv.gz"
        files.append({"key": key, "size": len(content), "MD5checksum": _md5(content)})
    manifest = {"files": files} | ({"fileSchema": schema} if schema else {})
    (reports / stamp).mkdir(exist_ok=True)
    (reports / stamp / "manifest.json").write_text(json.dumps(manifest))
    (reports / "hive").mkdir(exist_ok=True)


def _url(article_id: str, name: str, content: bytes) -> str:
    return f"s3://{BUCKET}/{article_id}/{name}?md5={_md5(content)}"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
