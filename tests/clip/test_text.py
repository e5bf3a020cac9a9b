"""Token ids are open_clip's to the last one; captions give sentences that stand alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer, _clean_lower

from biomedica_kedro.clip.config import TextSource
from biomedica_kedro.clip.text import Tokenizer, choose_text, clean, count_tokens, sentences

REFERENCE = SimpleTokenizer(context_length=77)
CAPTION = "Overview of the case. (A) Hematoxylin and eosin histology, ×400. (B) Western blot of α-SMA. n = 3."


@pytest.mark.parametrize(
    "text",
    [
        "Figure 1. H&E stain — ×400, α-SMA in µm; it's 5.2 mL &amp; &lt;b&gt;",
        "na\u00c3\u00afve “quotes” \x1b[0m \u2019s",
        "",
        "12345 abc's WE'RE don't",
        "中文 测试 😀 end",
        "a\tb\nc\r\nd",
        "word " * 200,
        "<start_of_text> a <END_OF_TEXT> b",
        "×² ≈° Β°Γ",
    ],
)
def test_ids_are_those_of_open_clip(text):
    assert torch.equal(Tokenizer(77)([text]), REFERENCE([text]))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cn", "Co", "Cs"])))  # unassigned characters have no fixed class
def test_ids_are_those_of_open_clip_for_any_text(text):
    assert torch.equal(Tokenizer(77)([text]), REFERENCE([text]))


@settings(max_examples=300, deadline=None)
@given(st.text("abZ 019.,;'’\t\n–—′°±×−∼µ≤≥αβςωΔΣΩ&<>²“é"))
def test_ids_are_those_of_open_clip_for_the_characters_of_captions(text):
    assert torch.equal(Tokenizer(77)([text]), REFERENCE([text]))


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_cleaning_is_that_of_open_clip(text):
    assert clean(text) == _clean_lower(text)


def test_real_captions_have_the_ids_of_open_clip(shared_data):
    from lxml import etree

    texts = [
        "".join(caption.itertext())
        for path in sorted((shared_data / "jats" / "xml").glob("*"))[:20]
        for caption in etree.parse(path, etree.XMLParser(load_dtd=False, no_network=True)).iter("caption")
    ]
    assert len(texts) > 50
    assert torch.equal(Tokenizer(77)(texts), REFERENCE(texts))


def test_sentences_lose_their_panel_letters():
    assert sentences(CAPTION) == [
        "Overview of the case.", "Hematoxylin and eosin histology, ×400.", "Western blot of α-SMA. n = 3."
    ]  # fmt: skip


def test_text_falls_back_to_the_caption():
    random = np.random.default_rng(0)
    assert choose_text("Too short", [], {TextSource.SENTENCE: 1.0}, random) == "Too short"
    assert choose_text(CAPTION, [], {TextSource.CAPTION_AND_MENTION: 1.0}, random) == CAPTION
    assert choose_text("A.", ["Seen in B."], {TextSource.CAPTION_AND_MENTION: 1.0}, random) == "A. Seen in B."


def test_sources_are_drawn_by_weight():
    random = np.random.default_rng(0)
    weights = {TextSource.CAPTION: 1.0, TextSource.SENTENCE: 3.0}
    drawn = [choose_text(CAPTION, [], weights, random) for _ in range(400)]
    assert 60 < drawn.count(CAPTION) < 140


def test_tokens_are_counted_without_start_and_end():
    assert count_tokens("western blot") == 2
