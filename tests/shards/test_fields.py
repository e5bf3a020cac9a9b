import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.records import ARTICLES, IMAGE_CAPTION_PAIRS, IMAGE_LABELS
from biomedica_kedro.shards.attribution import attribution_file, attribution_line
from biomedica_kedro.shards.fields import article_part, image_part, metadata_row, problems_of_record
from biomedica_kedro.shards.selection import Profile, record_schema

SCHEMA = record_schema(Profile.FULL)


def row_of(schema, **known):
    """A row of which only what is given is known."""
    return dict.fromkeys(schema.names) | known


def records(label):
    article = row_of(ARTICLES, article_id="PMC7.1", references=[{"id": None, "pmid": None, "doi": None, "text": None}])
    pair = row_of(
        IMAGE_CAPTION_PAIRS, key="PMC7_1-F1-0", article_id="PMC7.1", figure_id="F1", caption="A cell.",
        license_group="other", file_name="f.png", format="PNG", width=48, height=32, mode="L", n_bytes=9, sha256="0f",
    )  # fmt: skip
    return image_part(pair, article, label, "train") | article_part(article, [pair])


def test_record_of_which_nothing_is_known_has_every_field_and_no_null():
    record = orjson.loads(orjson.dumps(records({})))
    assert list(problems_of_record(record, SCHEMA)) == []
    assert b"null" not in orjson.dumps(record)
    assert (record["image_label_id"], record["label_confidence"], record["article_mesh_terms"]) == ("", -1.0, [])
    assert (record["image_format"], record["image_mode"], record["width"], record["height"]) == ("PNG", "L", 48, 32)


@settings(deadline=None)
@given(st.sampled_from([None, 0.25, float("nan")]), st.none() | st.integers(0, 9), st.sampled_from([None, "single"]))
def test_every_record_has_the_arrow_types_of_the_schema(confidence, cluster, panel):
    label = row_of(IMAGE_LABELS, confidence=confidence, cluster_id=cluster, panel_type=panel)
    record = orjson.loads(orjson.dumps(records(label)))
    assert list(problems_of_record(record, SCHEMA)) == []
    assert pa.Table.from_pylist([record], schema=SCHEMA).to_pylist()[0]["image_size"] == [48, 32]


def test_table_says_null_where_the_record_says_unknown():
    row = metadata_row(records({}), "A cell.")
    unknown = ("cluster_id", "panel_type", "label_confidence", "primary_label", "doi", "pmid", "journal")
    assert [row[name] for name in unknown] == [None] * len(unknown)
    assert (row["image_mode"], row["primary_labels"]) == ("L", [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"article_doi": None}, "article_doi is 'None', expected string"),
        ({"width": "48"}, "width is '48', expected int64"),
        ({"image_context": {"f": []}}, "image_context is"),
        ({"of_mine": 1}, "the record has a field of_mine of its own"),
        ({"schema_version": 1}, "schema_version is 1, expected 2"),
    ],
)
def test_record_that_is_not_of_the_schema_is_told(change, told):
    assert told in " ".join(problems_of_record(records({}) | change, SCHEMA))


def test_stand_in_for_an_unknown_pmcid_is_published_as_an_article_id_only():
    article = row_of(ARTICLES, article_id="PMC0123456789.1")
    assert article_part(article, [])["article_accession_id"] == ""
    record = records({}) | {"article_id": "PMC0123456789.1"}
    assert (metadata_row(record, "c")["pmcid"], metadata_row(record, "c")["article_id"]) == (None, "PMC0123456789.1")


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({}, "License: no license statement. https://pmc.ncbi.nlm.nih.gov/articles/PMC7/"),
        (
            {"authors": ["A. Bee", "C. Dee", "E. Eff", "G. Haitch"], "title": "Why\n  cells?", "doi": "10.1/x",
             "journal": "J", "publication_date": "2020-05", "license_code": "CC BY"},
            "A. Bee, C. Dee, E. Eff et al. Why cells? J, 2020. License: CC BY. https://doi.org/10.1/x",
        ),
        ({"article_id": "PMC0123456789.1", "title": "No number"}, "No number. License: no license statement."),
    ],
    ids=["nothing known", "everything known", "no address"],
)  # fmt: skip
def test_attribution_names_what_is_known(known, line):
    article = row_of(ARTICLES, article_id="PMC7.1") | known
    assert attribution_line(article, article["license_code"]) == line


def test_attribution_file_names_each_article_once_whether_resized_or_not():
    rows = [("PMC1.1", "One."), ("PMC1.1", "One. The image was resized."), ("PMC2.1", "Two.")]
    assert list(attribution_file("commercial", rows))[1:] == ["One.\n", "Two.\n"]
