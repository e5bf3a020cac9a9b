from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from biomedica_kedro.pmc.metadata import ARTICLE_METADATA
from biomedica_kedro.pmc.selection import SelectOptions, choose_articles
from biomedica_kedro.records import to_table

OPTIONS = SelectOptions()


def row(article_id="PMC1.1", **overrides):
    pmcid, _, version = article_id.partition(".")
    return {
        "article_id": article_id,
        "etag": "e",
        "location": "",
        "status": "listed",
        "pmcid": pmcid,
        "version": int(version),
        "journal": "J Tests",
        "publication_date": "2021-03",
        "license_code": "CC BY",
        "license_group": "commercial",
        "is_manuscript": False,
        "is_historical_ocr": False,
        "is_retracted": False,
        "xml_name": "x.xml",
        "image_names": ["a.jpg"],
    } | overrides


def select(*rows, options=OPTIONS):
    chosen = choose_articles(to_table(list(rows), ARTICLE_METADATA), options)
    excluded = list(chosen.excluded)
    return replace(chosen, excluded=excluded, selected=chosen.selected.read_all())


def selected(*rows, options=OPTIONS):
    return select(*rows, options=options).selected["article_id"].to_pylist()


def reason(*rows, options=OPTIONS):
    return select(*rows, options=options).license_summary["status"].to_pylist()


@pytest.mark.parametrize(
    ("overrides", "options", "why"),
    [
        ({"status": "removed", "license_group": None}, {}, "removed"),
        ({"problem": "not_found"}, {}, "unreadable_metadata"),
        ({"is_retracted": True}, {}, "retracted"),
        ({"is_retracted": True}, {"include_retracted": True}, "selected"),
        ({"is_manuscript": True}, {}, "manuscript"),
        ({"is_manuscript": True}, {"include_manuscripts": True}, "selected"),
        ({"is_historical_ocr": True}, {}, "historical_ocr"),
        ({"license_group": "other"}, {"license_groups": ["commercial"]}, "license_group"),
        ({"journal": "Nature"}, {"journals": ["j tests"]}, "journal"),
        ({"journal": "J TESTS"}, {"journals": ["j tests."]}, "selected"),
        ({"journal": None}, {"journals": ["j tests"]}, "journal"),
        ({"journal": "STRASSE"}, {"journals": ["Straße"]}, "selected"),
        ({"license_group": None}, {}, "license_group"),
        ({"image_names": None}, {}, "no_media"),
        ({"image_names": []}, {}, "no_media"),
        ({"image_names": []}, {"require_media": False}, "selected"),
        ({"publication_date": "2020-12-31"}, {"published_from": "2021"}, "date"),
        ({"publication_date": "2021"}, {"published_from": "2021-06"}, "selected"),
        ({"publication_date": "2021-06-30"}, {"published_to": "2021-06"}, "selected"),
        ({"publication_date": "2021-07"}, {"published_to": "2021-06"}, "date"),
        ({"publication_date": None}, {"published_to": "2021-06"}, "date"),
        ({"publication_date": None}, {"published_from": "2021-06"}, "date"),
        ({"publication_date": None}, {}, "selected"),
    ],
)
def test_article_is_selected_or_excluded_with_the_reason(overrides, options, why):
    assert reason(row(**overrides), options=SelectOptions(**options)) == [why]


def test_latest_published_version_is_taken():
    assert selected(row("PMC1.1"), row("PMC1.2"), row("PMC2.2")) == ["PMC1.2", "PMC2.2"]
    assert selected(row("PMC1.1"), row("PMC1.2", is_manuscript=True)) == ["PMC1.1"]
    assert selected(row("PMC1.9"), row("PMC1.10")) == ["PMC1.10"]
    assert selected(row("PMC1.1"), row("PMC1.2", status="removed")) == ["PMC1.1"]


def test_removed_and_retracted_articles_are_buried():
    chosen = select(row("PMC1.1", status="removed"), row("PMC2.1", is_retracted=True), row("PMC3.1"))
    assert chosen.tombstones.to_pylist() == [
        {"article_id": "PMC1.1", "pmcid": "PMC1", "reason": "removed"},
        {"article_id": "PMC2.1", "pmcid": "PMC2", "reason": "retracted"},
    ]


def test_sample_is_seeded_and_stable_as_the_corpus_grows():
    small = [row(f"PMC{n}.1") for n in range(1, 200)]
    large = small + [row(f"PMC{n}.1") for n in range(200, 400)]
    half = SelectOptions(sample_share=0.5)
    chosen = selected(*small, options=half)
    assert 60 < len(chosen) < 140
    assert set(chosen) == set(selected(*large, options=half)) & {article["article_id"] for article in small}
    assert chosen != selected(*small, options=SelectOptions(sample_share=0.5, seed=1))
    assert len(selected(*large, options=SelectOptions(max_articles=7))) == 7


def test_dates_of_another_form_are_an_error():
    with pytest.raises(ValidationError, match="2020-06"):
        SelectOptions(published_from="June 2020")


ROWS = st.lists(
    st.builds(
        row,
        st.builds("PMC{}.{}".format, st.integers(1, 9), st.integers(1, 3)),
        status=st.sampled_from(["listed", "removed"]),
        problem=st.sampled_from([None, None, "not_found"]),
        is_retracted=st.booleans(),
        is_manuscript=st.booleans(),
        license_group=st.sampled_from(["commercial", "other", None]),
        image_names=st.sampled_from([[], ["a.jpg"]]),
    ),
    unique_by=lambda article: article["article_id"],
)


@given(ROWS, st.randoms())
@settings(deadline=None, max_examples=15)
def test_every_article_is_selected_or_counted_whatever_the_order(rows, random):
    chosen = select(*rows)
    counts = Counter()
    for line in chosen.license_summary.to_pylist():
        counts[line["status"]] += line["articles"]
    assert counts.total() == len(rows)
    assert counts["selected"] == chosen.selected.num_rows
    assert Counter(why for _, why in chosen.excluded) == counts - Counter(selected=len(rows))
    pmcids = chosen.selected["pmcid"].to_pylist()
    assert len(pmcids) == len(set(pmcids))
    random.shuffle(rows)
    assert select(*rows).selected.equals(chosen.selected)
