from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedica_kedro.pmc.identifiers import batch_names, batch_of, known_pmcid, pair_key, split_of

PMCIDS = st.integers(1, 10**8).map("PMC{}".format)


@given(PMCIDS, st.integers(1, 9), st.integers(1, 9))
def test_versions_of_an_article_share_batch_and_split(pmcid, first, second):
    assert batch_of(f"{pmcid}.{first}", 64) == batch_of(f"{pmcid}.{second}", 64)
    assert split_of(f"{pmcid}.{first}") is split_of(f"{pmcid}.{second}")
    assert batch_of(pmcid, 64) in batch_names(64)


@given(st.text(min_size=1), st.text(min_size=1))
def test_pair_keys_of_different_figures_differ_and_are_plain(first, second):
    keys = pair_key("PMC1.1", first, 0), pair_key("PMC1.1", second, 0)
    assert (keys[0] == keys[1]) == (first == second)
    assert all(set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") for key in keys)


@pytest.mark.parametrize(
    ("article_id", "pmcid"),
    [("PMC10009416.1", "PMC10009416"), ("PMC7", "PMC7"), ("PMC0123456789.1", None), ("10.1590_x.y", None), ("", None)],
)
def test_pmcid_is_known_only_where_pmc_gave_it(article_id, pmcid):
    assert known_pmcid(article_id) == pmcid
