"""Defects of the original extraction (biomedica-etl), each with the behaviour that replaces it.

The original's output is named in each test; see docs/how-to/original-json.md.
"""

from __future__ import annotations

import pytest

from biomedica_kedro.jats import parse_article
from biomedica_kedro.records import DataError

FIGURES = "".join(f"<fig id='F{n}'><label>Figure {n}</label></fig>" for n in range(1, 5))


def mentions(parsed):
    return {f.figure_id: [m.text for m in f.mentions] for f in parsed.figures}


def test_structured_abstract_is_no_print_of_a_list(parse):
    abstract = "<abstract><sec><title>BACKGROUND</title><p>Why.</p></sec></abstract>"
    assert parse(front=abstract).article.abstract == "BACKGROUND: Why."


def test_a_single_mesh_heading_is_kept(parse):
    assert parse(front="<kwd-group kwd-group-type='MeSH'><kwd>Leaf</kwd></kwd-group>").article.mesh_terms == ["Leaf"]


def test_words_after_a_reference_are_not_doubled(parse):
    parsed = parse(f"<p>See <xref rid='F1'>Fig 1</xref> and <xref rid='F2'>Fig 2</xref>.</p>{FIGURES}")
    assert mentions(parsed)["F1"] == ["See Fig 1 and Fig 2."]


def test_the_second_figure_of_a_paragraph_has_its_context(parse):
    parsed = parse(f"<p>See <xref rid='F1'>Fig 1</xref> and <xref rid='F2'>Fig 2</xref>.</p>{FIGURES}")
    assert mentions(parsed)["F2"] == ["See Fig 1 and Fig 2."]


@pytest.mark.parametrize(
    "markup",
    [
        "<p><bold><xref rid='F1'>Fig 1</xref></bold></p>",
        "<list><list-item><p><xref rid='F1'>Fig 1</xref></p></list-item></list>",
        "<table-wrap><table><tr><td><xref rid='F1'>Fig 1</xref></td></tr></table></table-wrap>",
        "<p><xref rid='F2 F1'>Figs 1, 2</xref></p>",
        "<p><xref rid='F0'>Figs 0</xref>–<xref rid='F2'>2</xref></p><fig id='F0'><label>Figure 0</label></fig>",
    ],
    ids=["bold", "list", "table", "id list", "range"],
)
def test_references_are_found_beyond_direct_children_of_paragraphs(parse, markup):
    assert len(mentions(parse(markup + FIGURES))["F1"]) == 1


@pytest.mark.parametrize(
    "graphic",
    [
        "<alternatives><graphic xlink:href='a'/></alternatives>",
        "<p><graphic xlink:href='a'/></p>",
        "<disp-quote><graphic xlink:href='a'/></disp-quote>",
        "<graphic xlink:href='a.jpg'/>",
    ],
    ids=["alternatives", "paragraph", "quote", "extension"],
)
def test_caption_is_found_wherever_the_graphic_stands(parse, graphic):
    figure = parse(f"<fig id='F'><caption><p>Leaves.</p></caption>{graphic}</fig>").figures[0]
    assert (figure.caption, figure.graphics[0].part) == ("Leaves.", 0)


def test_no_words_are_invented_for_a_missing_caption(parse):
    assert parse("<fig id='F'><graphic xlink:href='a'/></fig>").figures[0].caption == ""


def test_one_oddity_does_not_empty_the_other_fields(parse):
    front = "<article-id pub-id-type='pmid'>7</article-id><title-group/><kwd-group><kwd>leaf</kwd></kwd-group>"
    article = parse(front=front).article
    assert (article.pmid, article.title, article.keywords) == ("7", "", ["leaf"])


def test_months_of_any_length_are_months(parse):
    front = "<pub-date pub-type='epub'><month>June</month><year>2001</year></pub-date>"
    assert parse(front=front).article.publication_date == "2001-06"


@pytest.mark.parametrize(
    "name", ["G3 (Bethesda)", "Diagnostics &amp; Therapy: Advances", "J Clin. Med.", "Ciência 2.0", "3 Biotech"]
)
def test_journals_of_any_name_are_whole(name):
    xml = f"<article><front><journal-meta><journal-title>{name}</journal-title></journal-meta></front></article>"
    assert parse_article(xml.encode(), article_id="PMC1.1").article.journal == name.replace("&amp;", "&")


def test_order_of_figures_is_that_of_the_document(parse):
    assert [f.figure_id for f in parse("<fig id='z'/><fig id='a'/><fig id='m'/>").figures] == ["z", "a", "m"]


def test_unreadable_articles_are_refused_not_written_empty():
    with pytest.raises(DataError):
        parse_article(b"<article><body>", article_id="PMC1.1")


def test_ids_that_differ_in_punctuation_stay_apart(parse):
    parsed = parse("<p><xref rid='f-1'>1</xref></p><fig id='f-1'/><fig id='f.1'/>")
    assert {name: len(texts) for name, texts in mentions(parsed).items()} == {"f-1": 1, "f.1": 0}
