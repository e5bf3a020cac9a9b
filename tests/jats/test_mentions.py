"""Every way a text can refer to a figure."""

from __future__ import annotations

import pytest

FIGURES = "".join(f"<fig id='F{n}'><label>Figure {n}</label></fig>" for n in range(1, 6))


def mentions_of(parsed, figure_id="F1"):
    return next(f for f in parsed.figures if f.figure_id == figure_id).mentions


def by_figure(parsed, via):
    return {f.figure_id: len(found) for f in parsed.figures if (found := [m for m in f.mentions if m.via == via])}


@pytest.mark.parametrize(
    "markup",
    [
        "<p>{}</p>",
        "<p><bold>({})</bold></p>",
        "<p><italic><sup>{}</sup></italic></p>",
        "<list><list-item><p>{}</p></list-item></list>",
        "<table-wrap><table><tr><td>{}</td></tr></table></table-wrap>",
        "<sec><title>{}</title></sec>",
        "<p>x<fn><p>{}</p></fn></p>",
        "<p><named-content>{}</named-content></p>",
    ],
)
def test_reference_counts_wherever_it_stands(parse, markup):
    parsed = parse(markup.format("<xref ref-type='fig' rid='F1'>Figure 1</xref>") + FIGURES)
    assert [m.via for m in mentions_of(parsed)] == ["direct"]


@pytest.mark.parametrize(
    "ref_type", ["fig", "scheme", "chart", "plate", "boxed-text", "supplementary-material", "other"]
)
def test_reference_counts_whatever_its_type(parse, ref_type):
    assert len(mentions_of(parse(f"<p><xref ref-type='{ref_type}' rid='F1'>1</xref></p>{FIGURES}"))) == 1


def test_every_figure_of_a_paragraph_is_mentioned(parse):
    parsed = parse(
        f"<p>Shown in <xref rid='F1'>Fig 1</xref> and <xref rid='F2'>2</xref> and in <xref "
        f"rid='F3'>3</xref>.</p>{FIGURES}"
    )
    assert by_figure(parsed, "direct") == {"F1": 1, "F2": 1, "F3": 1}


def test_boxes_in_a_paragraph_are_told_on_their_own(parse):
    parsed = parse("<p>Before <boxed-text><sec><title>Box</title><p>Inside.</p></sec></boxed-text> after.</p>")
    assert [(p.section, p.text) for p in parsed.article.paragraphs][1:] == [("Box", "Inside.")]
    assert "Inside" not in parsed.article.paragraphs[0].text


def test_paragraph_text_is_told_once_and_exactly(parse):
    parsed = parse(f"<p>A shows <xref rid='F1'>Fig 1</xref> and B <xref rid='F2'>Fig 2</xref>. End.</p>{FIGURES}")
    assert mentions_of(parsed)[0].text == "A shows Fig 1 and B Fig 2. End."


def test_rid_lists_name_every_figure(parse):
    assert by_figure(parse(f"<p><xref rid='F1 F3'>Figs</xref></p>{FIGURES}"), "direct") == {"F1": 1, "F3": 1}


@pytest.mark.parametrize("dash", ["–", "-", "—", " to ", " through ", "A–"])
def test_range_between_references_implies_the_figures_between(parse, dash):
    parsed = parse(f"<p><xref rid='F1'>Figs 1</xref>{dash}<xref rid='F4'>4</xref></p>{FIGURES}")
    assert by_figure(parsed, "range") == {"F2": 1, "F3": 1}


@pytest.mark.parametrize("tail", [" and ", ", ", " shows a ", ""])
def test_no_range_without_a_dash(parse, tail):
    parsed = parse(f"<p><xref rid='F1'>Figs 1</xref>{tail}<xref rid='F4'>4</xref></p>{FIGURES}")
    assert by_figure(parsed, "range") == {}


def test_range_inside_one_reference(parse):
    parsed = parse(f"<p><xref rid='F1'>Figs. 1–3</xref></p>{FIGURES}")
    assert by_figure(parsed, "range") == {"F2": 1, "F3": 1}


@pytest.mark.parametrize("rid", ["", "rid='gone'"], ids=["missing", "dangling"])
def test_reference_without_target_is_resolved_by_its_words(parse, rid):
    assert by_figure(parse(f"<p><xref ref-type='fig' {rid}>Fig. 2A</xref></p>{FIGURES}"), "text")["F2"] == 1


def test_words_count_for_a_figure_no_reference_names(parse):
    parsed = parse(
        f"<p><xref rid='F1'>Fig. 1</xref> as in Figure 1.</p><p>Figure 2 shows it; Figs 3–5 too.</p>{FIGURES}"
    )
    assert by_figure(parsed, "text") == {"F2": 1, "F3": 1, "F4": 1, "F5": 1}
    assert len(mentions_of(parsed)) == 1


def test_references_in_captions_are_kept_apart(parse):
    parsed = parse(f"{FIGURES}<fig id='X'><caption><p>As <xref rid='F1'>Figure 1</xref>.</p></caption></fig>")
    figure = next(f for f in parsed.figures if f.figure_id == "F1")
    assert (len(figure.mentions), [m.text for m in figure.caption_mentions]) == (0, ["As Figure 1."])


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("<xref rid='F1'>Fig. 1</xref>a,b).", "Fig. 1a,b"),
        ("<xref rid='F1'>Fig 1</xref>A–C", "Fig 1A–C"),
        ("<xref rid='F1'>Figure 1B</xref> shows", "Figure 1B"),
        ("<xref rid='F1'>Figure 1</xref> and", "Figure 1"),
        ("<xref rid='F1'>Figure 1</xref>shows", "Figure 1"),
    ],
)
def test_panel_letters_after_a_reference_are_kept(parse, markup, words):
    assert mentions_of(parse(f"<p>{markup}</p>{FIGURES}"))[0].xref_text == words


def test_paragraph_index_counts_every_paragraph_of_the_file(parse):
    parsed = parse(
        f"<p>One.</p><fig id='F9'><caption><p>Two.</p></caption></fig><p>Three <xref rid='F1'>1</xref>.</p>{FIGURES}",
        front="<abstract><p>Zero.</p></abstract>",
    )
    assert [(m.paragraph_index, m.text) for m in mentions_of(parsed)] == [(3, "Three 1.")]
    assert [(p.index, p.text) for p in parsed.article.paragraphs] == [(1, "One."), (3, "Three 1.")]


def test_mention_outside_paragraphs_has_no_index(parse):
    mention = mentions_of(parse(f"<sec><title>Growth (<xref rid='F1'>Fig 1</xref>)</title></sec>{FIGURES}"))[0]
    assert (mention.paragraph_index, mention.text) == (None, "Growth (Fig 1)")


def test_paragraph_around_a_figure_leaves_its_caption_out(parse):
    parsed = parse("<p>Before <xref rid='F1'>1</xref><fig id='F1'><caption><p>Caption.</p></caption></fig> after.</p>")
    assert mentions_of(parsed)[0].text == "Before 1 after."


def test_figures_that_share_an_id_share_its_mentions(parse):
    parsed = parse("<p><xref rid='F1'>Figure 1</xref></p><fig id='F1'/><fig id='F1'/>")
    assert [len(f.mentions) for f in parsed.figures] == [1, 1]


def test_section_is_the_path_of_titles(parse):
    parsed = parse(
        f"<sec><title>Results</title><sec><title>Growth</title><p><xref rid='F1'>1</xref></p></sec></sec>{FIGURES}"
    )
    assert mentions_of(parsed)[0].section == "Results > Growth"


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("See Figures 1 and 2.", "F1 F2"),
        ("See <xref ref-type='fig'>Figs. 1 and 3</xref>.", "F1 F3"),
        ("See <xref rid='F1'>Figs. 1 and 3</xref>.", "F1 F3"),
        ("See <xref rid='F1'>Figs. 1</xref>, 2 and 4.", "F1 F2 F4"),
        ("See Figs. <xref rid='F1'>1</xref> and 2.", "F1 F2"),
        ("See <xref rid='F1'>Fig. 1</xref>; Fig. 4 too.", "F1 F4"),
        ("We compare <xref rid='F1'>Fig. 1</xref> to <xref rid='F3'>Fig. 3</xref>.", "F1 F3"),
        ("From <xref rid='F1'>Fig. 1</xref> through <xref rid='F3'>Fig. 3</xref>.", "F1 F2 F3"),
        ("<xref rid='F1'>Fig. 1</xref>–<xref rid='F3'>Fig. 3</xref>.", "F1 F2 F3"),
        ("See Supplementary Fig. 2 and <xref rid='F1'>Fig. 1</xref>.", "F1"),
    ],
)
def test_every_figure_a_paragraph_names_is_mentioned(parse, text, figures):
    parsed = parse(f"<p>{text}</p>{FIGURES}")
    assert [f.figure_id for f in parsed.figures if f.mentions] == figures.split()
    assert all(len(f.mentions) <= 1 for f in parsed.figures)


def test_words_count_for_a_figure_that_other_paragraphs_refer_to(parse):
    parsed = parse(f"<p><xref rid='F1'>Fig. 1</xref></p><p>Again Fig. 1, Fig. 1.</p>{FIGURES}")
    assert [(m.paragraph_index, m.via) for m in mentions_of(parsed)] == [(0, "direct"), (1, "text")]


def test_words_reach_every_panel(parse):
    panels = "<fig id='a'><label>a</label></fig><fig id='b'><label>b</label></fig>"
    parsed = parse(f"<p>Figure 7.</p><fig-group><label>Figure 7</label>{panels}</fig-group>")
    assert [len(f.mentions) for f in parsed.figures] == [1, 1]


def test_figure_without_a_label_is_cited_by_the_number_its_caption_begins_with(parse):
    parsed = parse("<p>(Fig. 3)</p><fig id='F1'><caption><p><bold>Fig. 3.</bold> Axial CT.</p></caption></fig>")
    assert len(mentions_of(parsed)) == 1


def test_reference_to_a_graphic_is_one_to_its_figure(parse):
    figure = "<fig id='F1'><graphic id='gA' xlink:href='a'/><graphic id='gB' xlink:href='b'/></fig>"
    assert len(mentions_of(parse(f"<p><xref rid='gB'>1B</xref></p>{figure}"))) == 1
