"""The original's article JSON."""

from __future__ import annotations

import pytest
from engine import commit

from biomedica_kedro.jats import parse_article
from biomedica_kedro.jats.model import article_row
from biomedica_kedro.shards.original_json import export_articles, original_article, unix_seconds
from tests.jats.conftest import article_xml

PAIR = {
    "article_id": "PMC1.1", "image_id": "x-g001", "file_name": "x-g001.jpg", "caption": "Leaves.", "sha256": "0" * 64,
    "mentions": ["As in Figure 1."],
}  # fmt: skip


def test_names_are_the_originals():
    article = article_row(parse_article(article_xml("<p>One.</p><p>Two.</p>"), article_id="PMC1.1").article)
    exported = original_article(article, [PAIR])
    assert exported["accession_id"] == "PMC1"
    assert exported["nxml"] == "One.\nTwo."
    assert exported["context"] == {"x-g001": ["As in Figure 1."]}
    assert exported["figure_set"] == [
        {
            "image_id": "x-g001",
            "image_file_name": "x-g001.jpg",
            "image_path": "PMC1.1/x-g001.jpg",
            "caption": "Leaves.",
            "hash": "0" * 64,
        }
    ]


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("1970-01-02", "86400"), ("1970-02", "2678400"), ("1971", "31536000"), (None, None), ("", None)],
)
def test_dates_are_utc_whatever_the_machines_zone(monkeypatch, date, seconds):
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    assert unix_seconds(date) == seconds


def test_export_writes_one_list_a_batch(tmp_path):
    import orjson

    from biomedica_kedro.records import ARTICLES, IMAGE_CAPTION_PAIRS, to_table
    from biomedica_kedro.stages import BatchFolder

    article = parse_article(article_xml("<p>One.</p>"), article_id="PMC1.1").article
    articles = commit(BatchFolder(tmp_path / "articles"), {"0000": to_table([article_row(article)], ARTICLES)})
    pairs = commit(BatchFolder(tmp_path / "pairs"), {"0000": to_table([PAIR], IMAGE_CAPTION_PAIRS)})
    (path,) = export_articles(articles, pairs, tmp_path / "out")
    assert [row["accession_id"] for row in orjson.loads(path.read_bytes())] == ["PMC1"]
