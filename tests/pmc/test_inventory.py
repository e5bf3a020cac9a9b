from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from cloud_layout import write_article, write_inventory
from pydantic import ValidationError

from biomedica_kedro.pmc.inventory import (
    REPORTS,
    ListOptions,
    list_some,
    newest_stamp,
    parse_manifest,
    read_inventory,
    with_removed,
)
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.source import SourceError


@pytest.fixture
def bucket(tmp_path):
    for article_id in ("PMC1.1", "PMC12.1", "PMC2.2", "PMC3.1", "PMC3.2"):
        write_article(tmp_path, article_id)
    write_inventory(tmp_path)
    return tmp_path


def read(bucket, **options):
    manifest = parse_manifest((bucket / REPORTS / "2026-01-02T01-00Z/manifest.json").read_bytes())
    return read_inventory(manifest, lambda key: (bucket / key).read_bytes(), **options)


def test_newest_report_is_found_among_its_siblings():
    assert newest_stamp(["hive", "data", "2026-01-02T01-00Z", "2026-01-10T01-00Z"]) == "2026-01-10T01-00Z"
    assert newest_stamp(["hive", "data"]) is None


def test_inventory_lists_every_version_with_its_etag(bucket):
    table = read(bucket)
    assert table["article_id"].to_pylist() == ["PMC1.1", "PMC12.1", "PMC2.2", "PMC3.1", "PMC3.2"]
    assert {len(etag) for etag in table["etag"].to_pylist()} == {32}


def test_pmcids_are_matched_whole(bucket):
    assert read(bucket, pmcids={"PMC1", "PMC3"})["article_id"].to_pylist() == ["PMC1.1", "PMC3.1", "PMC3.2"]


def test_file_schema_decides_the_order_of_columns(bucket):
    seen = read(bucket)
    write_inventory(bucket, schema="Bucket, Key, LastModifiedDate, ETag")
    assert read(bucket).equals(seen)
    write_inventory(bucket, schema="Bucket, Key, ETag, LastModifiedDate")
    assert read(bucket)["etag"].to_pylist() == seen["last_modified"].to_pylist()


def test_row_that_is_there_twice_is_told_and_taken_once(bucket, caplog):
    seen = read(bucket)
    part = next((bucket / "inventory-reports").rglob("*.csv.gz"))
    rows = gzip.decompress(part.read_bytes()).splitlines(keepends=True)
    older = rows[1].replace(b"2026", b"2020").replace(b"2025", b"2020")
    part.write_bytes(gzip.compress(b"".join([older, *rows, rows[0]])))
    manifest = parse_manifest((bucket / REPORTS / "2026-01-02T01-00Z/manifest.json").read_bytes())
    untold = replace(manifest, parts=tuple((key, None) for key, _ in manifest.parts))
    table = read_inventory(untold, lambda key: (bucket / key).read_bytes())
    assert table.equals(seen)
    assert "names 2 article versions more than once" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{}", b'{"files": [{}]}', b'{"files": [], "fileSchema": "Bucket, Size"}'])
def test_other_content_is_no_manifest(content):
    with pytest.raises(SourceError):
        parse_manifest(content)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: gzip.compress(b"x"), lambda raw: b"<Error/>"])
def test_damaged_part_is_an_error_and_not_a_short_inventory(bucket, damage):
    part = next((bucket / REPORTS / "data").iterdir())
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(SourceError, match="md5"):
        read(bucket)


def test_vanished_articles_stay_as_removed_until_they_come_back(bucket):
    full = read(bucket)
    fewer = full.slice(1)
    updated = with_removed(fewer, full)
    assert (
        dict(zip(updated["article_id"].to_pylist(), updated["status"].to_pylist(), strict=True))["PMC1.1"] == "removed"
    )
    assert with_removed(full, updated).equals(full)
    assert with_removed(fewer, updated).equals(updated)


def test_listing_some_articles_removes_none(bucket):
    source = MirrorSource(str(bucket))
    some = list_some(source, ListOptions(pmcids=("PMC2",)), find_articles=list)
    assert with_removed(some, source.list_articles())["status"].to_pylist() == ["listed"]


def test_query_that_finds_nothing_lists_nothing(bucket):
    source = MirrorSource(str(bucket))
    assert list_some(source, ListOptions(query="unicorn"), find_articles=lambda query: []).num_rows == 0
    found = list_some(source, ListOptions(pmcids=("PMC1",), query="x"), find_articles=lambda query: ["PMC3"])
    assert found["article_id"].to_pylist() == ["PMC1.1", "PMC3.1", "PMC3.2"]


def test_pmcids_of_another_form_are_an_error():
    with pytest.raises(ValidationError, match="PMC10009416"):
        ListOptions(pmcids=("10009416",))
