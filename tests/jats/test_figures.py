"""The markup variants of figures, one test a rule."""

from __future__ import annotations

import pytest

from biomedica_kedro.jats import Kind


def only(parsed):
    (figure,) = parsed.figures
    return figure


def test_caption_joins_title_and_paragraphs_with_one_space(parse):
    figure = only(
        parse(
            "<sec><fig id='F1'><label>Figure 1</label><caption><title>Growth.</title><p>Day one.</p><p>Day\n two.</p>"
            "</caption><graphic xlink:href='x-01-g001'/></fig></sec>"
        )
    )
    assert (figure.figure_id, figure.label, figure.title) == ("F1", "Figure 1", "Growth.")
    assert figure.caption == "Growth. Day one. Day two."
    assert [(g.href, g.file_name, g.part) for g in figure.graphics] == [("x-01-g001", "x-01-g001", 0)]


def test_figures_of_the_floats_group_are_found(parse):
    parsed = parse("<p>See <xref rid='F1'>Figure 1</xref>.</p>", after="<floats-group><fig id='F1'/></floats-group>")
    assert [m.paragraph_index for m in only(parsed).mentions] == [0]


def test_panels_inherit_caption_label_and_mentions_of_their_group(parse):
    first, second = parse(
        "<p>As in <xref rid='g1'>Figure 1</xref>.</p><fig-group id='g1'><label>Figure 1</label><caption><p>Leaves (a) "
        "and roots (b).</p></caption><fig id='a'><label>(a)</label><graphic xlink:href='a'/></fig>"
        "<fig id='b'><label>(b)</label><graphic xlink:href='b'/></fig></fig-group>"
    ).figures
    assert first.caption == second.caption == "Leaves (a) and roots (b)."
    assert (first.label, second.label) == ("Figure 1 (a)", "Figure 1 (b)")
    assert [[m.via for m in f.mentions] for f in (first, second)] == [["group"], ["group"]]
    assert first.group_id == "g1"


def test_panels_with_captions_keep_them_beside_the_groups(parse):
    figure = only(
        parse(
            "<fig-group><caption><p>All.</p></caption><fig id='a'><caption><p>Leaves.</p></caption></fig></fig-group>"
        )
    )
    assert (figure.caption, figure.group_caption) == ("Leaves.", "All.")


def test_bilingual_pair_is_one_figure_with_two_captions(parse):
    original, other = sorted(
        parse(
            "<p><xref ref-type='fig' rid='f1'>figura 1</xref></p><fig-group id='f1'>"
            "<fig xml:lang='pt'><label>Figura 1</label><caption><title>Folhas.</title></caption></fig>"
            "<fig xml:lang='en'><label>Figure 1</label><caption><title>Leaves.</title></caption>"
            "<graphic xlink:href='a.jpg'/></fig></fig-group>"
        ).figures,
        key=lambda figure: figure.translation_of is not None,
    )
    assert original.captions_by_language == {"en": "Leaves.", "pt": "Folhas."}
    assert (original.figure_id, other.figure_id, other.translation_of) == ("f1", "f1-pt", "f1")
    assert [m.via for m in original.mentions] == ["group"]


def test_nested_figure_is_a_figure_of_its_own(parse):
    parent, child = parse(
        "<fig id='fig2'><caption><p>Parent.</p></caption><graphic xlink:href='p'/><p "
        "content-type='supplemental-figure'>"
        "<fig id='fig2s1'><caption><p>Child.</p></caption><graphic xlink:href='c'/></fig></p></fig>"
    ).figures
    assert (parent.caption, child.caption, child.parent_figure_id) == ("Parent.", "Child.", "fig2")
    assert [[g.href for g in f.graphics] for f in (parent, child)] == [["p"], ["c"]]
    assert parent.note == ""


def hrefs(figure):
    return [(graphic.href, graphic.part) for graphic in figure.graphics]


def test_panels_within_a_figure_inherit_its_caption_label_and_mentions(parse):
    whole, left, right = parse(
        "<p>In <xref rid='w'>Fig. 3</xref>.</p><fig id='w'><label>Fig. 3</label><caption><p>Two leaves.</p></caption>"
        "<fig id='l'><label>A</label><graphic xlink:href='l'/></fig><fig id='r'><label>B</label><caption><p>Red."
        "</p></caption><graphic xlink:href='r'/></fig></fig>"
    ).figures
    assert [(f.label, f.caption, f.group_caption) for f in (left, right)] == [
        ("Fig. 3 A", "Two leaves.", ""), ("Fig. 3 B", "Red.", "Two leaves."),
    ]  # fmt: skip
    assert [[m.via for m in f.mentions] for f in (whole, left, right)] == [["direct"], ["group"], ["group"]]
    assert {f.parent_figure_id for f in (left, right)} == {"w"}


def test_nested_groups_hand_down_what_the_outer_one_says(parse):
    first, second = parse(
        "<p>In <xref rid='g'>Figure 2</xref> and <xref rid='h'>2B</xref>.</p><fig-group id='g'><label>Figure 2</label>"
        "<caption><p>All.</p></caption><fig id='a'><graphic xlink:href='a'/></fig><fig-group id='h'><label>B</label>"
        "<caption><p>Some.</p></caption><fig id='b'><label>(i)</label><graphic xlink:href='b'/></fig></fig-group>"
        "</fig-group>"
    ).figures
    assert (first.label, first.caption) == ("Figure 2", "All.")
    assert (second.label, second.caption, second.group_caption) == ("Figure 2 B (i)", "Some.", "All.")
    assert [len(f.mentions) for f in (first, second)] == [1, 2]


def test_graphic_with_a_label_and_caption_is_a_figure(parse):
    parsed = parse(
        "<p>In <xref rid='g'>Scheme 1</xref>.<graphic id='g' xlink:href='s.png'><label>Scheme 1</label><caption><p>"
        "Steps.</p></caption></graphic></p>"
    )
    figure = only(parsed)
    assert (figure.kind, figure.label, figure.caption) == (Kind.SCHEME, "Scheme 1", "Steps.")
    assert [m.text for m in figure.mentions] == ["In Scheme 1."]


@pytest.mark.parametrize(
    "markup",
    [
        "<inline-formula><alternatives><graphic xlink:href='e1'/><mml:math/></alternatives></inline-formula>",
        "<disp-formula><graphic xlink:href='e1'/></disp-formula>",
        "<graphic xlink:href='square.gif'/>",
        "<media mimetype='video' xlink:href='film.mp4'/>",
    ],
    ids=["formula", "display formula", "symbol", "film"],
)
def test_what_a_caption_shows_is_no_part_of_the_figure(parse, markup):
    figure = only(parse(f"<fig id='F'><caption><p>Where {markup} is.</p></caption><graphic xlink:href='real'/></fig>"))
    assert hrefs(figure) == [("real", 0)]
    assert figure.kind is Kind.FIGURE


def test_formulas_beside_the_caption_are_no_parts_either(parse):
    note = "<p>As <inline-formula><graphic xlink:href='e1'/></inline-formula>.</p>"
    assert hrefs(only(parse(f"<fig>{note}<graphic xlink:href='real'/></fig>"))) == [("real", 0)]
    assert hrefs(only(parse(f"<fig>{note}</fig>"))) == []


def test_image_that_stands_in_the_caption_alone_is_the_figures(parse):
    assert hrefs(only(parse("<fig><caption><p>Leaf.<graphic xlink:href='a'/></p></caption></fig>"))) == [("a", 0)]


def test_symbol_in_the_caption_of_a_table_or_group_makes_no_image_of_it(parse):
    caption = "<caption><p>Dots <graphic xlink:href='dot'/></p></caption>"
    for markup in (f"<table-wrap>{caption}<table/></table-wrap>", f"<fig-group>{caption}</fig-group>"):
        assert only(parse(markup)).kind is Kind.OTHER


def test_supplement_in_a_group_belongs_to_the_groups_main_figure(parse):
    _, child = parse("<fig-group><fig id='fig2'/><fig id='fig2s1' specific-use='child-fig'/></fig-group>").figures
    assert child.parent_figure_id == "fig2"


def test_several_graphics_are_parts_of_one_figure(parse):
    figure = only(parse("<fig><graphic xlink:href='Fig4a_HTML'/><graphic xlink:href='Fig4b_HTML'/></fig>"))
    assert [g.part for g in figure.graphics] == [0, 1]


@pytest.mark.parametrize(
    "graphics",
    [
        "<alternatives><graphic specific-use='print' xlink:href='F_PB'/><graphic xlink:href='F_OC'/></alternatives>",
        "<graphic xlink:href='Fig1_HTML.jpg'/><graphic xlink:href='Fig1_HTML.gif'/>",
        "<graphic xlink:href='a.tif'/><graphic xlink:href='b.jpg' content-type='scielo-267x140'/>",
        "<graphic xlink:href='fig2'/><graphic xlink:href='fig2_small'/>",
    ],
    ids=["alternatives", "jpg and gif", "thumbnail by kind", "thumbnail by name"],
)
def test_renditions_are_one_image(parse, graphics):
    assert [g.part for g in only(parse(f"<fig>{graphics}</fig>")).graphics] == [0, 0]


@pytest.mark.parametrize(
    ("href", "file_name"),
    [
        ("pone.0046493.g001", "pone.0046493.g001"),
        ("info:doi/10.1371/journal.pone.0046041.g001", "journal.pone.0046041.g001"),
        ("https://minio.example.org/a/b/f00.jpg?x=1", "f00.jpg"),
        ("images/Fig%201.TIF", "Fig 1.TIF"),
        ("http://[no-host/f1.jpg", "f1.jpg"),
    ],
)
def test_file_name_of_an_href(parse, href, file_name):
    graphic = only(parse(f"<fig><graphic xlink:href='{href}'/></fig>")).graphics[0]
    assert (graphic.href, graphic.file_name) == (href, file_name)


def test_missing_href_is_no_graphic(parse):
    figure = only(parse("<fig id='F'><graphic xlink:href=''/><graphic/></fig>"))
    assert figure.graphics == []
    assert "no graphic" in figure.warnings


def test_href_under_another_prefix_is_found():
    from biomedica_kedro.jats import parse_article

    xml = b"<article xmlns:l='http://www.w3.org/1999/xlink'><fig><graphic l:href='a'/></fig></article>"
    assert parse_article(xml, article_id="PMC1.1").figures[0].graphics[0].href == "a"


def test_film_is_a_video(parse):
    assert only(parse("<fig><media mimetype='video' xlink:href='v1.mp4'/></fig>")).kind is Kind.VIDEO


@pytest.mark.parametrize(
    ("markup", "kind"),
    [
        ("<table-wrap id='T'><alternatives><graphic xlink:href='t'/><table/></alternatives></table-wrap>", Kind.TABLE),
        ("<disp-formula id='E'><graphic xlink:href='e'/></disp-formula>", Kind.EQUATION),
        ("<p><inline-formula><inline-graphic xlink:href='e'/></inline-formula></p>", Kind.EQUATION),
        (
            "<chem-struct-wrap><chem-struct><graphic xlink:href='c'/></chem-struct></chem-struct-wrap>",
            "chemical_structure",
        ),
        ("<p>An <inline-graphic xlink:href='icon'/></p>", Kind.INLINE_GRAPHIC),
        ("<p><graphic xlink:href='loose'/></p>", Kind.OTHER),
        ("<fig fig-type='scheme'><graphic xlink:href='s'/></fig>", Kind.SCHEME),
        ("<fig><label>Chart 2</label><graphic xlink:href='s'/></fig>", Kind.CHART),
        ("<fig><label>Plate 2</label><graphic xlink:href='s'/></fig>", Kind.PLATE),
    ],
)
def test_kind_of_graphics(parse, markup, kind):
    assert only(parse(markup)).kind == kind


def test_icons_do_not_make_a_text_table_an_image(parse):
    parsed = parse("<table-wrap><table><tr><td><inline-graphic xlink:href='i'/></td></tr></table></table-wrap>")
    assert only(parsed).kind is Kind.INLINE_GRAPHIC


@pytest.mark.parametrize("kind", ["boxed-text", "app", "sec", "disp-quote"])
def test_figures_in_any_container_are_found(parse, kind):
    assert only(parse(f"<{kind}><fig id='A1'/></{kind}>")).figure_id == "A1"


def test_ids_of_sub_articles_are_their_own(parse):
    parsed = parse(
        "<p><xref rid='fig1'>Figure 1</xref></p><fig id='fig1'/>",
        after="<sub-article id='sa1'><body><p><xref rid='fig1'>Author response image 1</xref></p><fig "
        "id='fig1'/></body>"
        "</sub-article>",
    )
    own, other = parsed.figures
    assert (own.figure_id, other.figure_id, other.sub_article_id) == ("fig1", "fig1-2", "sa1")
    assert [m.xref_text for m in own.mentions] == ["Figure 1"]
    assert [m.xref_text for m in other.mentions] == ["Author response image 1"]


def test_figures_of_a_translation_are_linked(parse):
    own, other = parse(
        "<fig id='f1'><label>Figura 1</label><caption><p>Folhas.</p></caption><graphic xlink:href='a'/></fig>",
        attributes="xml:lang='pt'",
        after="<sub-article id='s1' article-type='translation' xml:lang='en'><body><fig id='f01'><label>Figure "
        "1</label>"
        "<caption><p>Leaves.</p></caption><graphic xlink:href='b'/></fig></body></sub-article>",
    ).figures
    assert other.translation_of == own.figure_id
    assert own.captions_by_language == {"pt": "Folhas.", "en": "Leaves."}


def test_source_data_and_object_ids_are_no_caption(parse):
    figure = only(
        parse(
            "<fig "
            "id='F'><caption><title>Kept.</title><p>Too.<object-id>10.1/x</object-id></p><p><supplementary-material>"
            "<label>Source data 1.</label><media xlink:href='d.xlsx'/></supplementary-material></p></caption>"
            "<graphic xlink:href='g'/></fig>"
        )
    )
    assert figure.caption == "Kept. Too."
    assert [g.href for g in figure.graphics] == ["g"]


def test_graphical_abstract_with_figure(parse):
    figure = only(
        parse(
            front="<abstract abstract-type='graphical'><p><fig id='ga'><graphic xlink:href='g'/></fig></p></abstract>"
        )
    )
    assert (figure.kind, figure.figure_id) == (Kind.GRAPHICAL_ABSTRACT, "ga")


def test_graphical_abstract_without_figure_takes_the_abstracts_text(parse):
    figure = only(
        parse(
            front="<abstract abstract-type='graphical'><title>TOC</title><p>In short.<graphic "
            "xlink:href='g'/></p></abstract>"
        )
    )
    assert (figure.kind, figure.caption) == (Kind.GRAPHICAL_ABSTRACT, "In short.")


@pytest.mark.parametrize(
    ("inside", "captions"),
    [
        ("<fig id='ga'><graphic xlink:href='g'/></fig>", ("Cells move: fast", "")),
        ("<fig id='ga'><caption><p>Own.</p></caption><graphic xlink:href='g'/></fig>", ("Own.", "Cells move: fast")),
        ("<graphic xlink:href='g'/>", ("Cells move: fast", "")),
    ],
    ids=["figure", "figure with a caption", "graphic"],
)
def test_graphical_abstract_takes_the_text_beside_its_image_once(parse, inside, captions):
    text = "<p>Cells move:<list><list-item><p>fast</p></list-item></list></p>"
    abstract = f"<abstract abstract-type='graphical'><title>TOC</title>{text}<p>{inside}</p></abstract>"
    figure = only(parse(front=abstract))
    assert (figure.kind, figure.caption, figure.group_caption) == (
        Kind.GRAPHICAL_ABSTRACT, *captions,
    )  # fmt: skip


def test_list_in_caption_is_text(parse):
    figure = only(
        parse(
            "<fig><caption><p>Panels:<list><list-item><p>A, leaf.</p></list-item><list-item><p>B, root.</p></list-item>"
            "</list></p></caption></fig>"
        )
    )
    assert figure.caption == "Panels: A, leaf. B, root."


def test_captions_by_language(parse):
    figure = only(
        parse(
            "<fig><caption xml:lang='es'><p>Hojas.</p></caption><caption xml:lang='en'><p>Leaves.</p></caption></fig>",
            attributes="xml:lang='en'",
        )
    )
    assert figure.captions_by_language == {"es": "Hojas.", "en": "Leaves."}
    assert figure.caption == "Leaves."


@pytest.mark.parametrize(
    "parts",
    [
        "<title xml:lang='es'>Hojas.</title><title xml:lang='en-US'>Leaves.</title>",
        "<p xml:lang='es'>Hojas.</p><p xml:lang='eng'>Leaves.</p>",
    ],
)
def test_language_of_a_part_of_the_caption_counts(parse, parts):
    figure = only(parse(f"<fig><caption>{parts}</caption></fig>", attributes="xml:lang='es'"))
    assert figure.captions_by_language == {"es": "Hojas.", "en": "Leaves."}
    assert figure.caption == "Hojas."


@pytest.mark.parametrize(
    "inside",
    ["<title>On H<sub>2</sub>O.</title><p>Leaves.</p>", "On <bold>H</bold><sub>2</sub>O. Leaves.",
     "<legend><p>On H<sub>2</sub>O.</p><p>Leaves.</p></legend>"],
    ids=["title and paragraph", "bare", "legend"],
)  # fmt: skip
def test_text_of_a_figure_without_a_caption_is_its_caption(parse, inside):
    figure = only(parse(f"<fig><label>Figure 1</label>{inside}<graphic xlink:href='g'/><attrib>Roe</attrib></fig>"))
    assert (figure.label, figure.caption, figure.note) == ("Figure 1", "On H2O. Leaves.", "")


def test_caption_of_a_graphical_abstract_is_not_told_again_beside_it(parse):
    figure_in_it = "<fig><caption><p>Own.</p></caption><graphic xlink:href='g'/></fig>"
    front = f"<abstract><title>Graphical abstract</title><p>Beside.</p>{figure_in_it}</abstract>"
    figure = only(parse(front=front))
    assert (figure.caption, figure.group_caption) == ("Own.", "Beside.")


def test_text_beside_the_caption_has_fields_of_its_own(parse):
    figure = only(
        parse(
            "<fig><caption><p>Leaves.</p></caption><alt-text>A leaf</alt-text><graphic xlink:href='g'/>"
            "<attrib>Photo: B. C.</attrib><p>Bars, 1 mm.</p></fig>"
        )
    )
    assert (figure.caption, figure.alt_text, figure.attribution, figure.note) == (
        "Leaves.", "A leaf", "Photo: B. C.", "Bars, 1 mm.",
    )  # fmt: skip


def test_figure_without_id_gets_a_stable_one(parse):
    first, second = parse("<fig/><fig/>").figures
    assert (first.figure_id, second.figure_id) == ("figure-1", "figure-2")
    assert "no id" in first.warnings


def test_sub_articles_without_an_id_are_numbered_in_their_order(parse):
    parsed = parse(
        after="<sub-article><body><fig id='A'/></body></sub-article>"
        "<sub-article><body><p>Text.</p><fig id='B'/></body></sub-article>"
    )
    assert [figure.sub_article_id for figure in parsed.figures] == ["sub-article-1", "sub-article-2"]


@pytest.mark.parametrize(("first", "second"), [("pt-BR", "en-US"), ("por", "eng"), ("pt", "EN")])
def test_captions_are_found_by_their_language_whatever_its_region(parse, first, second):
    captions = "".join(f"<caption xml:lang='{tag}'><p>{tag}.</p></caption>" for tag in (first, second))
    figure = parse(f"<fig id='F'>{captions}</fig>", attributes="xml:lang='en-GB'").figures[0]
    assert figure.captions_by_language == {"pt": f"{first}.", "en": f"{second}."}
    assert figure.caption == f"{second}."


def test_abstract_in_another_language_lends_it_to_its_figure(parse):
    content = "<p>Hojas.</p><p><graphic xlink:href='g'/></p>"
    abstract = f"<trans-abstract abstract-type='graphical' xml:lang='es'>{content}</trans-abstract>"
    assert parse(front=abstract).figures[0].captions_by_language == {"es": "Hojas."}


def test_nested_paragraphs_of_a_graphical_abstract_are_told_once(parse):
    listed = "<p>Leaves:<list><list-item><p>grow</p></list-item></list></p><p><graphic xlink:href='g'/></p>"
    assert parse(front=f"<abstract abstract-type='graphical'>{listed}</abstract>").figures[0].caption == "Leaves: grow"


def test_text_in_a_figure_without_a_caption_around_it_is_its_caption(parse):
    figure = parse("<fig id='F'>Fig. 3. <graphic xlink:href='g'/>Leaves of\n oak</fig>").figures[0]
    assert figure.caption == "Fig. 3. Leaves of oak"


@pytest.mark.parametrize(
    "words", ["Click here for additional data file.", "Click here to view.", "Click here for file"]
)
def test_links_of_the_archive_are_no_caption(parse, words):
    media = f"<media mimetype='image' xlink:href='g'><caption><p>{words}</p></caption></media>"
    assert parse(f"<fig id='F'><caption><p>Leaves.</p></caption>{media}</fig>").figures[0].caption == "Leaves."


PREAMBLE = r"\documentclass[12pt]{minimal} \usepackage{amsmath} \setlength{\oddsidemargin}{-69pt} "


@pytest.mark.parametrize(
    "tex",
    [
        PREAMBLE + r"\begin{document}$$a+b$$\end{document}",
        PREAMBLE + r"\begin{document}$$a+b$$",
        PREAMBLE + r"$$a+b$$\end{document}",
        PREAMBLE + r"$$a+b$$",
        r"\begin{document}$a+b$\end{document}",
        "a+b",
    ],
    ids=["closed", "never closed", "never begun", "no document", "no preamble", "bare"],
)
def test_latex_is_told_without_its_preamble(parse, tex):
    caption = f"<caption><p>Of <inline-formula><tex-math>{tex}</tex-math></inline-formula>.</p></caption>"
    assert parse(f"<fig id='F'>{caption}</fig>").figures[0].caption == "Of a+b."
