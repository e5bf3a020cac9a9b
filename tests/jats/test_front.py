"""Front matter, field by field."""

from __future__ import annotations

import pytest

from biomedica_kedro.jats import complement, parse_article
from biomedica_kedro.records import DataError, RejectReason
from tests.jats.conftest import article_xml


def front_of(front: str, journal: str = "", attributes: str = ""):
    xml = article_xml(front=front, attributes=attributes).replace(
        b"<front>", f"<front><journal-meta>{journal}</journal-meta>".encode()
    )
    return parse_article(xml, article_id="PMC12.3").article


def test_identity_comes_from_the_article_id(parse):
    article = front_of("<article-id pub-id-type='pmid'>7</article-id><article-id pub-id-type='doi'>10.1/x</article-id>")
    assert (article.pmcid, article.version, article.pmid, article.doi) == ("PMC12", 3, "7", "10.1/x")


def test_other_ids_are_kept_whole():
    article = parse_article(article_xml(), article_id="10.1590_x.y").article
    assert (article.article_id, article.pmcid, article.version) == ("10.1590_x.y", None, 1)


def test_title_with_markup_keeps_its_order():
    title = "<title-group><article-title>Of <italic>E. coli</italic> and CO<sub>2</sub></article-title></title-group>"
    assert front_of(title).title == "Of E. coli and CO2"


def test_a_lone_article_id_does_not_cost_the_title():
    front = "<article-id pub-id-type='pmid'>7</article-id><title-group><article-title>T</article-title></title-group>"
    assert (front_of(front).title, front_of(front).pmid) == ("T", "7")


def test_structured_abstract_is_text_with_its_titles():
    abstract = (
        "<abstract><title>Abstract</title><sec><title>Background</title><p>Why.</p></sec><sec><title>Results</title>"
        "<p>What.</p></sec></abstract><abstract abstract-type='teaser'><p>Short.</p></abstract>"
    )
    assert front_of(abstract).abstract == "Background: Why. Results: What."


MAIN, SIDE = "<p>Leaves grow.</p>", "<p>Aside.</p>"


@pytest.mark.parametrize(
    ("abstracts", "text"),
    [
        (f"<abstract abstract-type='summary'>{SIDE}</abstract><abstract>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract abstract-type='key-points'>{SIDE}</abstract><abstract>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract abstract-type='ASCII'>{SIDE}</abstract><abstract>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract><title>Highlights</title>{SIDE}</abstract><abstract>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract xml:lang='es'>{SIDE}</abstract><abstract xml:lang='en-GB'>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract abstract-type='section'>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract><title>Summary</title>{MAIN}</abstract>", "Leaves grow."),
        (f"<abstract abstract-type='graphical'>{SIDE}</abstract>", ""),
        ("<abstract>Leaves <italic>grow</italic>.</abstract>", "Leaves grow."),
        ("<abstract><title>Abstract</title></abstract>", ""),
    ],
)
def test_main_abstract_is_told_from_others(abstracts, text):
    assert front_of(abstracts).abstract == text


def test_nested_paragraphs_of_an_abstract_are_told_once():
    items = "<list><list-item><p>they grow</p></list-item><list-item><p>they fall</p></list-item></list>"
    assert front_of(f"<abstract><p>Of leaves: {items}</p></abstract>").abstract == "Of leaves: they grow they fall"
    assert front_of(f"<abstract>{items}</abstract>").abstract == "they grow they fall"


def test_boilerplate_of_an_abstract_is_left_out_with_its_title():
    words = "The online version of this article (doi:10.1/x) contains supplementary material."
    abstract = (
        f"<abstract><sec><title>Results</title>{MAIN}</sec><sec><title>Electronic supplementary material</title>"
        f"<p>{words}</p></sec><sec><title>Trial</title><p>No. 3.</p></sec></abstract>"
    )
    assert front_of(abstract).abstract == "Results: Leaves grow. Trial: No. 3."


@pytest.mark.parametrize(
    "mark",
    [
        "<xref ref-type='fn' rid='n'><sup>*</sup></xref>",
        "<sup>†</sup>",
        "<fn><p>Presented in Rome.</p></fn>",
        "<xref ref-type='fn' rid='n'>1</xref>",
    ],
    ids=["link", "mark", "note", "number"],
)
def test_titles_have_no_footnotes_nor_marks(mark):
    title = f"<title-group><article-title>On Ca<sup>2+</sup>{mark} in leaves{mark}</article-title></title-group>"
    assert front_of(title).title == "On Ca2+ in leaves"


@pytest.mark.parametrize(
    ("title", "read"),
    [
        ("Leaves that move<sup>1</sup>", "Leaves that move"),
        ("<italic>Mimosa</italic> moves at night?<sup>1,2</sup>", "Mimosa moves at night?"),
        ("Plants per km<sup>2</sup>", "Plants per km2"),
        ("The limits of <italic>R</italic><sup>2</sup>", "The limits of R2"),
        ("Growth<sup>2</sup> of leaves", "Growth2 of leaves"),
        ("Leaves with Ca<sup>2+</sup>", "Leaves with Ca2+"),
    ],
)
def test_a_number_raised_at_the_end_of_a_title_is_a_footnote_behind_a_word(title, read):
    assert front_of(f"<title-group><article-title>{title}</article-title></title-group>").title == read


def test_marks_at_the_end_of_a_title_are_left_out_however_they_are_set():
    assert front_of("<title-group><article-title>On leaves †*</article-title></title-group>").title == "On leaves"


def test_keywords_of_all_groups_are_kept():
    groups = (
        "<kwd-group><kwd>leaf</kwd><kwd>root</kwd></kwd-group><kwd-group xml:lang='es'><kwd>hoja</kwd></kwd-group>"
        "<kwd-group kwd-group-type='MESH'><kwd>Plant Leaves</kwd></kwd-group>"
    )
    article = front_of(groups)
    assert (article.keywords, article.mesh_terms) == (["leaf", "root", "hoja"], ["Plant Leaves"])


@pytest.mark.parametrize("name", ["G3 (Bethesda)", "Diagnostics & Therapy: Part 2", "Revista Médica", "J. Clin. Med."])
def test_journal_is_what_the_journal_says(name):
    title = f"<journal-title-group><journal-title>{name.replace('&', '&amp;')}</journal-title></journal-title-group>"
    assert front_of("", title).journal == name


@pytest.mark.parametrize(
    ("markup", "date"),
    [
        ("<day>5</day><month>3</month><year>2019</year>", "2019-03-05"),
        ("<month>September</month><year>2019</year>", "2019-09"),
        ("<month>Sept</month><year>2019</year>", "2019-09"),
        ("<day>31</day><month>02</month><year>2009</year>", "2009-02"),
        ("<day>29</day><month>2</month><year>2019</year>", "2019-02"),
        ("<day>29</day><month>2</month><year>2020</year>", "2020-02-29"),
        ("<season>Spring</season><year>2019</year>", "2019"),
        ("<year>in press</year>", None),
        ("<day>²</day><month>³</month><year>2019</year>", "2019"),
        ("<year>0000</year>", None),
        ("<string-date>5 May 2014</string-date>", "2014"),
    ],
)
def test_dates_are_iso_and_never_impossible(markup, date):
    assert front_of(f"<pub-date pub-type='epub'>{markup}</pub-date>").publication_date == date


@pytest.mark.parametrize(("iso", "date"), [("2016-03-05", "2016-03-05"), ("2016-03", "2016-03"), ("2015-03", "2016")])
def test_attribute_tells_what_the_elements_of_a_date_do_not(iso, date):
    markup = f"<pub-date pub-type='epub' iso-8601-date='{iso}'><year>2016</year></pub-date>"
    assert front_of(markup).publication_date == date


def test_full_date_wins_over_the_year_of_the_volume():
    dates = (
        "<pub-date pub-type='collection'><year>2020</year></pub-date>"
        "<pub-date date-type='pub' "
        "publication-format='electronic'><day>1</day><month>12</month><year>2019</year></pub-date>"
    )
    assert front_of(dates).publication_date == "2019-12-01"


@pytest.mark.parametrize("kind", ["pub-type='pmc-release'", "date-type='pmc-release'", "pub-type='nihms-submitted'"])
def test_release_in_the_archive_is_no_publication(kind):
    release = f"<pub-date {kind}><day>1</day><month>6</month><year>2012</year></pub-date>"
    assert front_of(release).publication_date is None
    assert front_of(f"{release}<pub-date pub-type='ppub'><year>2010</year></pub-date>").publication_date == "2010"


@pytest.mark.parametrize(
    "group",
    [
        "<collab>The Leaf Group<contrib-group><contrib contrib-type='author'><name><surname>Roe</surname></name>"
        "<aff>Univ</aff></contrib></contrib-group></collab>",
        "<collab>The Leaf Group<xref ref-type='aff' rid='a'>1</xref></collab>",
        "<collab><collab-name>The Leaf Group</collab-name><aff>Univ</aff></collab>",
        "<collab-name>The Leaf Group</collab-name>",
        "<collab>The Leaf Group<sup>2</sup><list><list-item><p>Roe</p></list-item></list></collab>",
        "<collab-wrap><collab-name>The Leaf Group</collab-name></collab-wrap>",
    ],
)
def test_groups_are_called_by_their_name(group):
    doe = "<contrib contrib-type='author'><name><surname>Doe</surname></name></contrib>"
    contributors = f"<contrib-group><contrib contrib-type='author'>{group}</contrib>{doe}</contrib-group>"
    assert front_of(contributors).authors == ["The Leaf Group", "Doe"]


@pytest.mark.parametrize(("written", "language"), [("en-US", "en"), ("EN", "en"), ("eng", "en"), ("pt_BR", "pt")])
def test_language_is_told_without_region(written, language):
    assert front_of("", attributes=f"xml:lang='{written}'").language == language


def test_authors_are_people_and_groups():
    contributors = (
        "<contrib-group><contrib contrib-type='author'><name><surname>Roe</surname><given-names>Ann "
        "B</given-names></name>"
        "</contrib><contrib contrib-type='author'><collab>The Leaf Group</collab></contrib>"
        "<contrib contrib-type='editor'><name><surname>Doe</surname></name></contrib></contrib-group>"
    )
    assert front_of(contributors).authors == ["Ann B Roe", "The Leaf Group"]


@pytest.mark.parametrize(
    ("permissions", "code", "group"),
    [
        ("<license xlink:href='http://creativecommons.org/licenses/by/4.0/'/>", "CC BY", "commercial"),
        (
            "<license><license-p><ext-link xlink:href='https://creativecommons.org/licenses/by-nc-nd/3.0'>x</ext-link>"
            "</license-p></license>",
            "CC BY-NC-ND",
            "noncommercial",
        ),
        (
            "<license><license-p>under the Creative Commons Attribution License</license-p></license>",
            "CC BY",
            "commercial",
        ),
        (
            "<license><license-p>Creative Commons Attribution-NonCommercial-ShareAlike</license-p></license>",
            "CC BY-NC-SA",
            "noncommercial",
        ),
        ("<license xlink:href='https://creativecommons.org/publicdomain/zero/1.0/'/>", "CC0", "commercial"),
        ("<license><license-p>All rights reserved.</license-p></license>", None, "other"),
        (
            "<license xlink:href='http://creativecommons.org/licenses/by/4.0/'><license-p>Not for commercial use."
            "</license-p></license>",
            "CC BY-NC",
            "noncommercial",
        ),
        (
            "<license><ali:license_ref xmlns:ali='a' content-type='ccbyncsalicense'/></license>",
            "CC BY-NC-SA",
            "noncommercial",
        ),
    ],
)
def test_license_is_read_from_link_or_words(permissions, code, group):
    article = front_of(f"<permissions>{permissions}</permissions>")
    assert (article.license_code, article.license_group) == (code, group)


def test_license_of_files_before_permissions_is_read():
    words = "Distributed under the Creative Commons Attribution License."
    assert front_of(f"<copyright-statement>{words}</copyright-statement>").license_code == "CC BY"


def test_narrower_of_article_and_archive_holds_and_is_told():
    words = "<permissions><license><license-p>CC BY-NC 4.0</license-p></license></permissions>"
    parsed = parse_article(article_xml(front=words), article_id="PMC1.1")
    article = complement(parsed, b'{"license_code": "CC BY"}').article
    assert (article.license_code, article.license_group) == ("CC BY-NC", "noncommercial")
    assert article.warnings == ["the archive says CC BY, the article CC BY-NC: taken as CC BY-NC"]


@pytest.mark.parametrize(
    ("front", "attributes"),
    [
        ("", "article-type='retraction'"),
        ("<title-group><article-title>RETRACTED: Leaves</article-title></title-group>", ""),
        ("<related-article related-article-type='retracted-article'/>", ""),
        ("<related-article related-article-type='retraction-forward'/>", ""),
    ],
    ids=["type", "title", "notice", "link to the notice"],
)
def test_retractions_are_flagged(front, attributes):
    assert front_of(front, attributes=attributes).is_retracted


@pytest.mark.parametrize("kind", ["Author", "group-author", "collab"])
def test_authors_are_known_by_the_word_in_their_type(kind):
    group = f"<contrib contrib-type='{kind}'><collab>Leaf Team</collab></contrib>"
    editor = "<contrib contrib-type='editorial-group'><collab>Editors</collab></contrib>"
    assert front_of(f"<contrib-group>{group}{editor}</contrib-group>").authors == ["Leaf Team"]


@pytest.mark.parametrize(
    "title",
    [
        "Retracted article: leaves", "[Retracted] Leaves", "WITHDRAWN Leaves", "Retraction", "Retraction: leaves",
        "Retraction to: leaves", "Retraction note to: leaves", "Notice of Retraction: leaves",
        "Statement of withdrawal", "Publisher's retraction: leaves", "Retraction for Roe et al., leaves",
        "Retraction of “Leaves”", "Leaves [retracted]", "Leaves (Withdrawn, see vol. 2)", "Leaves: RETRACTED",
        "Retraction. Leaves", "Retraction—leaves", "Leaves: retraction notice", "Retracted study: leaves",
        "This paper has been withdrawn: leaves", "Notification of retraction: leaves",
        "Retraction of Roe J, et al: leaves",
    ],
)  # fmt: skip
def test_titles_of_retracted_articles_and_their_notices_are_known(title):
    assert front_of(f"<title-group><article-title>{title}</article-title></title-group>").is_retracted


@pytest.mark.parametrize(
    "title",
    [
        "Withdrawal of nitrogen from leaves", "Retraction of leaf tips: a method", "Withdrawal syndrome of seedlings",
        "Nipple retraction: a sign", "Retraction-extension cycles", "Retracted leaves: two cases",
        "Opioid withdrawal", "Why articles are retracted: a review", "Lung retraction (a review)",
        "Withdrawal – a case of leaves", "Leaf shape (retracted tips)", "Retraction-free growth",
    ],
)  # fmt: skip
def test_retraction_and_withdrawal_are_matters_of_medicine_too(title):
    assert not front_of(f"<title-group><article-title>{title}</article-title></title-group>").is_retracted


@pytest.mark.parametrize(("said", "is_retracted"), [("true", True), ("false", False), ("null", True)])
def test_the_archive_rules_on_retraction_where_it_speaks(said, is_retracted):
    title = "<title-group><article-title>RETRACTED: Leaves</article-title></title-group>"
    parsed = parse_article(article_xml(front=title), article_id="PMC1.1")
    assert complement(parsed, f'{{"is_retracted": {said}}}'.encode()).article.is_retracted is is_retracted


def test_corrections_are_no_retractions():
    assert not front_of("<related-article related-article-type='corrected-article'/>").is_retracted


def test_metadata_complement_what_the_xml_does_not_say():
    parsed = parse_article(article_xml("<fig id='F'/>"), article_id="PMC1.1")
    assert parsed.figures[0].redistributable is None
    article = complement(parsed, b'{"license_code": "CC BY-NC", "is_retracted": true, "pmid": 7}').article
    assert (article.license_group, article.is_retracted, article.pmid) == ("noncommercial", True, "7")
    assert parsed.figures[0].redistributable is True


@pytest.mark.parametrize("metadata", [b"", b"{", b"[]", b'"text"', b"3", b"null"])
def test_metadata_that_are_no_object_are_refused(metadata):
    parsed = parse_article(article_xml("<fig id='F'/>"), article_id="PMC1.1")
    with pytest.raises(DataError) as caught:
        complement(parsed, metadata)
    assert caught.value.reason is RejectReason.INVALID_METADATA


def test_metadata_of_odd_types_become_text_or_nothing():
    parsed = parse_article(article_xml("<fig id='F'/>"), article_id="PMC1.1")
    article = complement(parsed, b'{"doi": 7, "citation": ["a"], "license_code": null, "title": {}}').article
    assert (article.doi, article.citation, article.license_code) == ("7", None, None)


def test_references_carry_their_identifiers():
    back = (
        "<back><ref-list><ref id='r1'><label>1</label><element-citation><name><surname>Roe</surname>"
        "<given-names>A</given-names></name><article-title>Leaves</article-title><source>J "
        "Leaf</source><year>2001</year>"
        "<pub-id pub-id-type='doi'>10.1000/x</pub-id><pub-id pub-id-type='pmid'>12</pub-id></element-citation></ref>"
        "<ref id='r2'><mixed-citation>Doe B. Roots. <ext-link ext-link-type='uri' "
        "xlink:href='https://doi.org/10.1000/y'>"
        "link</ext-link></mixed-citation></ref></ref-list></back>"
    )
    first, second = parse_article(article_xml(after=back), article_id="PMC1.1").article.references
    assert (first.id, first.pmid, first.doi) == ("r1", "12", "10.1000/x")
    assert first.text == "Roe A Leaves J Leaf 2001 10.1000/x 12"
    assert (second.doi, second.text) == ("10.1000/y", "Doe B. Roots. link")


def test_empty_references_are_kept_in_their_places():
    refs = "<ref id='a'/><ref id='b'><mixed-citation>B.</mixed-citation></ref><ref id='c'/>"
    xml = article_xml(after=f"<back><ref-list>{refs}</ref-list></back>")
    references = parse_article(xml, article_id="PMC1.1").article.references
    assert [(reference.id, reference.text) for reference in references] == [("a", ""), ("b", "B."), ("c", "")]


def test_links_after_the_references_are_not_theirs():
    after = (
        "<back><ref-list><ref id='r1'><mixed-citation>Doe.</mixed-citation></ref></ref-list></back><floats-group>"
        "<fig><caption><p><ext-link ext-link-type='doi'>10.1000/z</ext-link></p></caption></fig></floats-group>"
    )
    assert parse_article(article_xml(after=after), article_id="PMC1.1").article.references[0].doi is None
