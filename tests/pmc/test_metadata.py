from __future__ import annotations

import json

import pytest
from cloud_layout import BUCKET, jpeg, write_article

from biomedica_kedro.pmc.metadata import cited_date, cited_journal, parse_metadata
from biomedica_kedro.records import DataError, RejectReason


def test_metadata_name_the_files_and_their_md5(tmp_path):
    write_article(tmp_path, "PMC7.2", media={"b.jpg": jpeg(), "movie.mp4": b"..."}, license_code="CC BY-NC")
    metadata = parse_metadata((tmp_path / "PMC7.2/PMC7.2.json").read_bytes(), "PMC7.2")
    assert (metadata.pmcid, metadata.version, metadata.pmid) == ("PMC7", 2, "8")
    assert (metadata.journal, metadata.publication_date) == ("J Tests", "2021-03-05")
    assert metadata.license_group == "noncommercial"
    assert metadata.image_names == ["b.jpg"]
    assert [len(file.md5 or "") for file in (metadata.xml, *metadata.media)] == [32, 32, 32]


def test_optional_keys_may_be_absent(tmp_path):
    raw = write_article(tmp_path, "PMC7.1", media_urls=None, license_code=None, citation=None, doi=None)
    metadata = parse_metadata(json.dumps(raw).encode(), "PMC7.1")
    assert (metadata.media, metadata.license_group, metadata.journal) == ((), "other", None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://attacker/PMC7.1/PMC7.1.xml", RejectReason.FORBIDDEN_KEY),
        ("https://attacker/PMC7.1/PMC7.1.xml", RejectReason.FORBIDDEN_KEY),
        (f"s3://{BUCKET}/PMC8.1/PMC8.1.xml", RejectReason.FORBIDDEN_KEY),
        (f"s3://{BUCKET}/PMC7.1/%2e%2e/PMC8.1.xml", RejectReason.FORBIDDEN_KEY),
        (f"s3://{BUCKET}/PMC7.1/a/b.xml", RejectReason.FORBIDDEN_KEY),
        (None, RejectReason.INVALID_METADATA),
    ],
)
def test_full_text_outside_of_the_article_is_refused(tmp_path, url, reason):
    raw = write_article(tmp_path, "PMC7.1", xml_url=url)
    with pytest.raises(DataError) as caught:
        parse_metadata(json.dumps(raw).encode(), "PMC7.1")
    assert caught.value.reason is reason


def test_forbidden_media_are_reported_beside_the_allowed_ones(tmp_path):
    urls = [f"s3://{BUCKET}/PMC7.1/good.jpg", "s3://attacker/PMC7.1/bad.jpg", f"s3://{BUCKET}/PMC7.1/../x.jpg"]
    urls.append("s3://[x/PMC7.1/bad.jpg")
    metadata = parse_metadata(json.dumps(write_article(tmp_path, "PMC7.1", media_urls=urls)).encode(), "PMC7.1")
    assert metadata.image_names == ["good.jpg"]
    assert len(metadata.forbidden) == 3


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"pmcid": "PMC8", "version": 1}', b"\xff"])
def test_other_content_is_no_metadata(content):
    with pytest.raises(DataError) as caught:
        parse_metadata(content, "PMC7.1")
    assert caught.value.reason is RejectReason.INVALID_METADATA


@pytest.mark.parametrize(
    ("citation", "journal", "date"),
    [
        ("Nature. 2020 Sep 16;585(7825):357-362.", "Nature", "2020-09-16"),
        ("PLoS One. 2013 Oct;8(10):e1. doi: 10.1371/x", "PLoS One", "2013-10"),
        ("J. 1999;3:1.", "J", "1999"),
        ("Ann 2000 Soc.  2001 Winter;3:1.", "Ann 2000 Soc", "2001"),
        (None, None, None),
    ],
)
def test_journal_and_date_come_from_the_citation(citation, journal, date):
    assert (cited_journal(citation), cited_date(citation)) == (journal, date)
