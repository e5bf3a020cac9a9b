from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_corpus.captions import multi_panel_caption, single_panel_caption
from biomedica_corpus.classes import CLASSES
from biomedica_corpus.options import CorpusOptions
from biomedica_corpus.plan import Flavor, draw_article_ids, plan_corpus
from biomedica_kedro.pmc.identifiers import split_of
from biomedica_kedro.pmc.licenses import license_group
from biomedica_kedro.records import LicenseGroup, Split

OPTIONS = CorpusOptions(articles=100, held_out_articles=10)


@given(st.lists(st.sampled_from(list(Split)), max_size=12), st.integers(0, 10**6))
@settings(max_examples=25)
def test_article_ids_are_distinct_and_in_the_split_wanted(wanted: list[Split], seed: int) -> None:
    found = draw_article_ids(seed, wanted)
    assert [split_of(article_id) for article_id in found] == wanted
    assert len(set(found)) == len(found)


def test_no_invented_pmcid_could_be_a_real_one() -> None:
    assert all(int(name[3:-2]) >= 90_000_000 for name in draw_article_ids(0, [Split.TRAIN] * 50))


def test_plan_has_every_split_flavor_and_license_group() -> None:
    articles = plan_corpus(OPTIONS)
    assert Counter(article.split for article in articles) == {Split.TRAIN: 92, Split.VALIDATION: 8, Split.TEST: 10}
    assert {article.flavor for article in articles} == set(Flavor)
    assert {license_group(article.license_code) for article in articles} == set(LicenseGroup)
    assert any(article.is_retracted for article in articles)


def test_about_as_many_figures_have_one_panel_as_asked_for() -> None:
    figures = [figure for article in plan_corpus(OPTIONS)[:100] for figure in article.figures]
    assert len(figures) == 300
    assert 0.5 < sum(len(figure.panels) == 1 for figure in figures) / 300 < 0.7


def test_more_held_out_articles_change_no_article_of_training() -> None:
    more = plan_corpus(OPTIONS.model_copy(update={"held_out_articles": 20}))
    assert more[:100] == plan_corpus(OPTIONS)[:100]


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_multi_panel_captions_name_each_panel_by_its_letter(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    panels = [CLASSES[int(rng.integers(20))].sample(rng) for _ in range(count)]
    text = multi_panel_caption(panels, rng).text
    for letter, panel in zip("ABCD", panels, strict=False):
        assert any(
            form in text for form in (f"({letter})", f"({letter.lower()})", f"{letter}, ", f"{letter.lower()}, ")
        )
        assert panel.kind.noun.lower() in text.lower()


@given(st.integers(0, 2**32 - 1))
def test_captions_are_clean_prose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = single_panel_caption(CLASSES[int(rng.integers(20))].sample(rng), rng).text
    assert text[0] == text[0].upper()
    assert text.endswith(".")
    assert not any(trace in text for trace in ("{", "}", "  ", "..", " ,", "None"))
