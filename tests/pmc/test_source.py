from __future__ import annotations

import pytest

from biomedica_kedro.pmc.source import checked_key, inventory_table
from biomedica_kedro.records import DataError, RejectReason


@pytest.mark.parametrize("name", ["fig-g001.jpg", "a b (1).tif", "PMC1.1.json", "Abb–ü.png"])
def test_plain_file_names_are_allowed(name):
    assert checked_key("PMC1.1", name) == f"PMC1.1/{name}"


@pytest.mark.parametrize(
    ("article_id", "name"),
    [
        ("PMC1.1", "../../etc/passwd"),
        ("PMC1.1", "a/b.jpg"),
        ("PMC1.1", "a\\b.jpg"),
        ("PMC1.1", ".."),
        ("PMC1.1", ".hidden"),
        ("PMC1.1", "a\n.jpg"),
        ("PMC1.1", ""),
        ("PMC1.1", "x" * 256),
        ("PMC1", "a.jpg"),
        ("PMC1.1/../PMC2.1", "a.jpg"),
    ],
)
def test_other_keys_are_forbidden(article_id, name):
    with pytest.raises(DataError) as caught:
        checked_key(article_id, name)
    assert caught.value.reason is RejectReason.FORBIDDEN_KEY


def test_inventory_lists_an_article_once_in_order():
    table = inventory_table([("PMC2.1", "e", "", "b"), ("PMC1.1", "e", "", ""), ("PMC2.1", "e", "", "a")])
    assert table["article_id"].to_pylist() == ["PMC1.1", "PMC2.1"]
    assert table["location"].to_pylist() == ["", "a"]
