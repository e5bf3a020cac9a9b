"""Conditions on samples as they pass."""

import pytest

from biomedica_kedro.shards.filters import chosen, columns_of, needed_fields, unknown_names
from biomedica_kedro.shards.samples import Sample


def samples(*records):
    return [Sample(f"k{n}", b"", "jpg", f"Caption {n}", record) for n, record in enumerate(records)]


def rows(where, *records):
    return [row for row, _ in chosen(samples(*records), where)]


PUBLISHED = {
    "image_primary_label": ["Microscopy", "Plots"], "image_panel_type": "single", "image_size": [640, 480],
    "article_license": "CC BY-NC", "article_date": "1674658210", "image_set": [{"a": 1}],
}  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        "primary_label = 'Microscopy' AND license_group = 'noncommercial'",
        "list_contains(primary_labels, 'Plots') AND width > height",
        "publication_date BETWEEN '2023-01-01' AND '2023-12-31'",
        "image_set[1].a = 1 AND panel_type = 'single'",
        "len(list_filter(image_primary_label, lambda x: x LIKE 'Micro%')) = 1 AND key = 'k0'",
        "caption_length = length(caption) -- a comment",
    ],
)
def test_published_records_are_asked_under_both_names(where):
    assert rows(where, PUBLISHED) == [0]
    assert not unknown_names(samples(PUBLISHED), where)


def test_fields_without_a_value_are_null_whatever_the_condition_wants_of_them():
    records = [{"labels": None, "n": None}, {}]
    assert rows("list_contains(labels, 'x') OR n > 3", *records) == []
    assert rows("labels IS NULL AND n IS NULL", *records) == [0, 1]
    assert rows("list_contains(labels, 'x')", {"labels": []}, {}) == []


def test_values_of_several_types_are_compared_as_text():
    assert rows("a = '1'", {"a": "1"}, {"a": 1}, {"a": {"b": 2}}) == [0, 1]


def test_value_is_given_beside_the_place():
    assert chosen(samples({"a": "x"}, {}, {"a": "y"}), None, "a") == [(0, "x"), (1, ""), (2, "y")]


def test_names_are_those_the_condition_reads():
    assert set(columns_of("a.b = 1 AND list_has_any(c, ['d']) AND len(list_filter(e, lambda y: y = f)) > 0")) == {
        "a", "c", "e", "f",
    }  # fmt: skip
    assert needed_fields("license_group = 'x' AND caption = 'y'") == {"license_group", "article_license"}


@pytest.mark.parametrize("where", ["a =", "a = 1; DROP TABLE x", " "])
def test_what_is_no_condition_is_refused(where):
    with pytest.raises(ValueError, match="is not SQL"):
        columns_of(where)


def test_condition_that_fits_no_type_says_what_there_is():
    with pytest.raises(ValueError, match="the samples have key, caption, caption_length, a"):
        rows("nonsense(a)", {"a": 1})
