from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

from biomedica_corpus import read_manifest
from biomedica_corpus.bucket import BUCKET, INVENTORY_PREFIX, ArticleObjects, inventory_objects, md5_of

# What PMC's metadata files hold; media_urls may be absent.
FIELDS = {
    "pmcid": str,
    "version": int,
    "pmid": int,
    "doi": str,
    "title": str,
    "citation": str,
    "is_pmc_openaccess": bool,
    "is_manuscript": bool,
    "is_historical_ocr": bool,
    "is_retracted": bool,
    "license_code": (str, type(None)),
    "xml_url": str,
    "text_url": str,
}
MAY_LACK_FILES = {"listed_media_absent", "foreign_bucket", "cut_metadata", "metadata_absent"}


def planted(corpus: Path) -> dict[str, str]:
    return {row["article_id"]: row["what"] for row in read_manifest(corpus)["planted"]}


def test_metadata_has_the_fields_of_the_cloud(corpus: Path) -> None:
    faults = planted(corpus)
    for path in sorted((corpus / "metadata").glob("*.json")):
        if faults.get(path.stem) == "cut_metadata":
            continue
        metadata = json.loads(path.read_bytes())
        assert metadata.keys() - {"media_urls"} == FIELDS.keys()
        assert all(isinstance(metadata[name], kind) for name, kind in FIELDS.items())
        assert f"{metadata['pmcid']}.{metadata['version']}" == path.stem


def test_metadata_lies_under_both_keys(corpus: Path) -> None:
    for path in (corpus / "metadata").glob("*.json"):
        assert path.read_bytes() == (corpus / path.stem / path.name).read_bytes()


def test_urls_carry_the_md5_of_their_object_unless_planted(corpus: Path) -> None:
    faults = planted(corpus)
    wrong = set()
    for path in (corpus / "metadata").glob("*.json"):
        if faults.get(path.stem) in MAY_LACK_FILES:
            continue
        metadata = json.loads(path.read_bytes())
        for url in [metadata["xml_url"], metadata["text_url"], *metadata.get("media_urls", [])]:
            key, _, digest = url.removeprefix(f"s3://{BUCKET}/").partition("?md5=")
            if md5_of((corpus / key).read_bytes()) != digest:
                wrong.add(faults[path.stem])
    assert wrong == {"wrong_media_md5", "wrong_xml_md5"}


def test_inventory_lists_every_metadata_file_with_its_md5(corpus: Path) -> None:
    (path,) = (corpus / INVENTORY_PREFIX).glob("*/manifest.json")
    manifest = json.loads(path.read_bytes())
    assert manifest["fileSchema"] == "Bucket, Key, LastModifiedDate, ETag"
    rows = []
    for file in manifest["files"]:
        content = (corpus / file["key"]).read_bytes()
        assert md5_of(content) == file["MD5checksum"]
        rows += list(csv.reader(gzip.decompress(content).decode().splitlines()))
    keys = [key for _, key, _, _ in rows]
    absent = {f"metadata/{article}.json" for article, what in planted(corpus).items() if what == "metadata_absent"}
    assert set(keys) - absent == {f"metadata/{path.name}" for path in (corpus / "metadata").glob("*.json")}
    assert all(md5_of((corpus / key).read_bytes()) == etag for _, key, _, etag in rows if key not in absent)


def test_inventory_does_not_depend_on_the_order_of_its_rows() -> None:
    rows = [(f"metadata/PMC9000000{n}.1.json", "2020-01-01T12:00:00.000Z", f"{n:032d}") for n in range(5)]
    assert inventory_objects(rows) == inventory_objects(rows[::-1])


def test_an_article_without_media_has_no_media_urls() -> None:
    objects = ArticleObjects("PMC90000001.1", {"pmcid": "PMC90000001"}, b"<article/>", b"", {})
    assert "media_urls" not in json.loads(objects.metadata_json())
