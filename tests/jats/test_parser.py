"""Untrusted XML: hardening, repair, wrappers and namespaces."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from biomedica_kedro.jats import parse_article
from biomedica_kedro.jats.parser import read_article
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.xml_parser import MAX_BYTES

FIGURE = "<fig id='F1'><label>Figure 1</label><caption><p>Growth.</p></caption></fig>"
NAMESPACE = "https://jats.nlm.nih.gov/ns/archiving/1.4/"


def reason_of(xml: bytes) -> RejectReason:
    with pytest.raises(DataError) as caught:
        parse_article(xml, article_id="PMC1.1")
    return caught.value.reason


def caption_of(xml: bytes) -> str:
    return parse_article(xml, article_id="PMC1.1").figures[0].caption


def test_external_entities_are_never_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("S3CRET")
    xml = f"<!DOCTYPE article [<!ENTITY x SYSTEM '{secret.as_uri()}'>]><article><p>&x;</p></article>"
    assert reason_of(xml.encode()) is RejectReason.HOSTILE_XML


@pytest.mark.parametrize("depth", [3, 12])
def test_entity_bombs_are_refused(depth):
    lines = ["<!ENTITY a0 'haha'>", *(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, depth))]
    xml = f"<!DOCTYPE article [{''.join(lines)}]><article><p>&a{depth - 1};</p></article>".encode()
    started = time.process_time()
    assert reason_of(xml) is RejectReason.HOSTILE_XML
    assert time.process_time() - started < 5


def test_document_types_are_not_read_from_disk_either(tmp_path):
    """Some settings of libxml2 that save time read it; then the attribute below would get its default."""
    document_type = tmp_path / "x.dtd"
    document_type.write_text("<!ATTLIST fig id CDATA 'FROM-DISK'>")
    for declaration in (f"SYSTEM '{document_type}'", f"[<!ENTITY % e SYSTEM '{document_type.as_uri()}'>%e;]"):
        xml = f"<!DOCTYPE article {declaration}><article><fig><label>Figure 1</label></fig></article>"
        try:
            figures = parse_article(xml.encode(), article_id="PMC1.1").figures
        except DataError:
            continue
        assert [figure.figure_id for figure in figures] == ["figure-1"]


def test_document_types_are_not_fetched():
    xml = (
        b"<!DOCTYPE article PUBLIC 'x' 'http://127.0.0.1:9/x.dtd'><article><fig><caption><p>5 "
        b"&mu;m</p></caption></fig></article>"
    )
    assert caption_of(xml) == "5 μm"


@pytest.mark.parametrize("n_bytes", [MAX_BYTES + 1, 200 << 20])
def test_oversized_files_are_refused_unread(n_bytes):
    xml = b"<article><p>".ljust(n_bytes, b"x")
    tracemalloc.start()
    assert reason_of(xml) is RejectReason.TOO_LARGE
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_huge_text_nodes_are_refused():
    assert reason_of(b"<article><p>" + b"x" * (11 << 20) + b"</p></article>") is RejectReason.TOO_LARGE


def test_deep_nesting_is_refused():
    assert reason_of(b"<article>" + b"<sec>" * 5000 + b"</sec>" * 5000 + b"</article>") is RejectReason.HOSTILE_XML


def test_undefined_entities_become_characters():
    xml = b"<article><fig><caption><p>a&nbsp;b 5&thinsp;&mu;m &lt; &amp;</p></caption></fig></article>"
    assert caption_of(xml) == "a b 5 μm < &"


def test_unknown_entities_stay_visible():
    xml = b"<!DOCTYPE article SYSTEM 'x.dtd'><article><fig><caption><p>a &weird; b</p></caption></fig></article>"
    assert caption_of(xml) == "a &weird; b"


def test_undeclared_prefixes_are_repaired_and_reported():
    parsed = parse_article(f"<article><ali:free/><body>{FIGURE}</body></article>".encode(), article_id="PMC1.1")
    assert parsed.article.recovered
    assert "malformed XML was repaired" in parsed.article.warnings
    assert parsed.figures[0].caption == "Growth."


def test_href_under_an_undeclared_prefix_is_found():
    parsed = parse_article(b"<article><fig><graphic xlink:href='a'/></fig></article>", article_id="PMC1.1")
    assert parsed.figures[0].graphics[0].href == "a"


def test_a_root_with_an_undeclared_prefix_is_no_article():
    assert reason_of(b"<articleSxmlns:x='y'><body/></articleSxmlns:x>") is RejectReason.NOT_AN_ARTICLE


def test_well_formed_files_are_not_called_repaired():
    assert not parse_article(f"<article>{FIGURE}</article>".encode(), article_id="PMC1.1").article.recovered


ARTICLE = (
    "<article xmlns:xlink='http://www.w3.org/1999/xlink'><body><p id='p1'>See <xref rid='F1'>Figure 1</xref> now.</p>"
    f"{FIGURE}<fig id='F2'><caption><p>Decline.</p></caption><graphic xlink:href='b'/></fig></body></article>"
)


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        ("rid='F1'", "rid='F1"),
        ("rid='F1'", "rid=F1'"),
        ("id='F2'", "id='F2"),
        ("</xref>", "xref>"),
        ("</xref>", ""),
        ("</xref>", "</xerf>"),
        ("<caption>", "<captoin>"),
        ("<caption>", ""),
        ("<caption>", "<caption"),
        ("href='b'/>", "href='b'>"),
        ("</p></caption>", "</caption></p>"),
        ("<p id='p1'>", "<p id='p1'><!-- "),
        ("<p id='p1'>", "<p id='p1'><![CDATA["),
        ("<fig id='F2'>", "<fi\x01g id='F2'>"),
    ],
)
def test_repair_never_guesses_at_lost_markup(whole, damaged):
    assert whole in ARTICLE
    assert reason_of(ARTICLE.replace(whole, damaged, 1).encode()) is RejectReason.MALFORMED_XML


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        ("See ", "See\x0b "),
        ("See ", "S&#x2;ee "),
        ("id='p1'", "id='p1' id='p1'"),
        ("See ", "<!-- x -- y -->See "),
        ("See ", "<ali:free/>See "),
        ("<p id='p1'>See", "<q:p id='p1'>See"),
        (" xmlns:xlink='http://www.w3.org/1999/xlink'", ""),
    ],
)
def test_repair_changes_nothing_that_is_read(whole, damaged):
    xml = ARTICLE.replace(whole, damaged, 1)
    if "q:p" in damaged:
        xml = xml.replace("now.</p>", "now.</q:p>")
    repaired = parse_article(xml.encode(), article_id="PMC1.1")
    assert repaired.article.recovered
    expected = parse_article(ARTICLE.encode(), article_id="PMC1.1")
    assert (repaired.figures, repaired.article.paragraphs) == (expected.figures, expected.article.paragraphs)


def test_stray_signs_are_text():
    parsed = parse_article(
        b"<article><body><p>p <0.05 & AT&T; 5 < 6<![CDATA[ & ]]></p></body></article>", article_id="PMC1.1"
    )
    assert parsed.article.paragraphs[0].text == "p <0.05 & AT&T; 5 < 6 &"
    assert parsed.article.recovered


@pytest.mark.parametrize(
    ("declared", "written", "text"),
    [
        ("US-ASCII", "utf-8", "5 \u00b5m"),
        ("us-ascii", "cp1252", "5 \u00b5m \u2013"),
        ("ISO-8859-1", "cp1252", "\u201cwild type\u201d \u2013"),
        ("ISO-8859-1", "utf-8", "caf\u00e9 \u2013 na\u00efve"),
        ("ISO-8859-15", "iso-8859-15", "caf\u00e9 \u20ac"),
        ("windows-1252", "utf-8", "M\u00fcller\u2019s"),
        ("KOI8-R", "utf-8", "\u043c\u044b\u0448\u044c"),
        ("KOI8-R", "koi8-r", "\u043c\u044b\u0448\u044c"),
        ("GB2312", "gbk", "\u9555"),
        ("gb2312", "gb18030", "\U0001f600"),
        ("Shift_JIS", "cp932", "\u2460"),
        ("EUC-KR", "cp949", "\ub620"),
        ("Big5", "cp950", "\u7881"),
        ("Big5", "big5hkscs", "\u35ce"),
        ("MS932", "cp932", "\u2460"),
    ],
)
def test_declared_encodings_are_read_as_the_superset_that_was_written(declared, written, text):
    xml = f"<?xml version='1.0' encoding='{declared}'?><article><fig><caption><p>{text}</p></caption></fig></article>"
    assert caption_of(xml.encode(written)) == text


@pytest.mark.parametrize("declared", ["utf-8", "GB2312", "Shift_JIS", "EUC-KR", "Big5", "windows-1252", "x-none"])
def test_bytes_that_no_superset_has_are_refused(declared):
    xml = (
        f"<?xml version='1.0' encoding='{declared}'?><article><fig/><p>a".encode()
        + b"\x81\xff"
        + b"</p><fig/></article>"
    )
    assert reason_of(xml) is RejectReason.MALFORMED_XML


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_cut_files_are_refused_not_repaired(share):
    xml = f"<article><body>{FIGURE * 20}</body></article>".encode()
    assert reason_of(xml[: int(len(xml) * share)]) is RejectReason.MALFORMED_XML


@pytest.mark.parametrize("xml", [b"", b"   ", b"no markup", b"\x00\x01"])
def test_what_is_no_xml_is_malformed(xml):
    assert reason_of(xml) is RejectReason.MALFORMED_XML


@pytest.mark.parametrize(
    "xml",
    [
        "<html xmlns='http://www.w3.org/1999/xhtml'><body><article><p>Checking</p></article></body></html>",
        "<!-- cached --><html><body><article class='x'><p>Not found<br></article></body></html>",
        "<rss><channel><item><article>Leaves</article></item></channel></rss>",
        "<pmc-articleset><Reply Id='9' error='id(s) not in PMC'/></pmc-articleset>",
    ],
    ids=["XHTML", "HTML repaired", "feed", "efetch error"],
)
def test_articles_of_pages_and_feeds_are_no_articles(xml):
    assert reason_of(xml.encode()) is RejectReason.NOT_AN_ARTICLE


def set_of(*ids: str) -> bytes:
    articles = (
        f"<article><front><article-meta><article-id pub-id-type='{kind}'>{name}</article-id></article-meta></front>"
        f"<body><fig><caption><p>Of {name}.</p></caption></fig></body></article>"
        for kind, _, name in (id_.partition(":") for id_ in ids)
    )
    return f"<pmc-articleset>{''.join(articles)}</pmc-articleset>".encode()


@pytest.mark.parametrize(
    ("ids", "caption"),
    [
        (["pmc:22", "pmc:1"], "Of 1."),
        (["pmcid:PMC1", "pmcid:PMC22"], "Of PMC1."),
        (["pmcid-ver:PMC1.2", "pmcid-ver:PMC1.1"], "Of PMC1.1."),
        (["pmc:22"], "Of 22."),
    ],
    ids=["number", "PMCID", "version", "only one"],
)
def test_of_a_set_the_article_asked_for_is_taken(ids, caption):
    assert caption_of(set_of(*ids)) == caption


def test_set_without_the_article_asked_for_names_what_it_holds():
    with pytest.raises(DataError, match=r"2 articles, PMC22, PMC23: none is PMC1\.1") as caught:
        parse_article(set_of("pmc:22", "pmc:23"), article_id="PMC1.1")
    assert caught.value.reason is RejectReason.NOT_AN_ARTICLE


@pytest.mark.parametrize("n_nul", [1, 5000])
def test_nul_bytes_after_the_end_are_left_out_and_told(n_nul):
    parsed = parse_article(f"<article>{FIGURE}</article>\n".encode() + bytes(n_nul), article_id="PMC1.1")
    assert (parsed.figures[0].caption, parsed.article.recovered) == ("Growth.", False)
    assert parsed.article.warnings == [f"{n_nul} NUL bytes after the end were left out"]


def test_nul_bytes_in_the_place_of_the_end_are_told_in_the_reject():
    with pytest.raises(DataError, match="before 512 NUL bytes at the end") as caught:
        parse_article(f"<article>{FIGURE}<sec>".encode() + bytes(512), article_id="PMC1.1")
    assert caught.value.reason is RejectReason.MALFORMED_XML


def test_error_pages_are_no_articles():
    assert reason_of(b"<html><body><h1>404</h1></body></html>") is RejectReason.NOT_AN_ARTICLE


@pytest.mark.parametrize(
    "xml",
    [
        f"<article xmlns='{NAMESPACE}'>{FIGURE}</article>",
        f"<j:article xmlns:j='{NAMESPACE}'>{FIGURE.replace('</', '</j:').replace('<f', '<j:f')}</j:article>".replace(
            "<label", "<j:label"
        )
        .replace("<caption", "<j:caption")
        .replace("<p>", "<j:p>"),
        f"<OAI-PMH xmlns='http://www.openarchives.org/OAI/2.0/'><GetRecord><record><metadata><article "
        f"xmlns='{NAMESPACE}'>"
        f"{FIGURE}</article></metadata></record></GetRecord></OAI-PMH>",
        f"<pmc-articleset><article>{FIGURE}</article></pmc-articleset>",
        f"\ufeff<?xml version='1.0'?><!-- first --><!DOCTYPE article><article>{FIGURE}</article>",
        f"\n  <?xml version='1.0'?><article>{FIGURE}</article>",
    ],
    ids=["default namespace", "prefixed", "OAI-PMH", "article set", "byte order mark", "space before declaration"],
)
def test_wrappers_and_namespaces_make_no_difference(xml):
    assert caption_of(xml.encode()) == "Growth."


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_declared_encodings_are_honoured(encoding):
    xml = f"<?xml version='1.0' encoding='{encoding}'?><article><fig><caption><p>Größe</p></caption></fig></article>"
    assert caption_of(xml.encode(encoding)) == "Größe"


def test_comments_and_instructions_are_no_text():
    xml = b"<article><fig><caption><p>Gro<!-- x -->wth<?A3B2 y?>.</p></caption></fig></article>"
    assert caption_of(xml) == "Growth."


def test_namespaces_of_formulas_are_kept():
    source = read_article(
        f"<article xmlns='{NAMESPACE}' xmlns:m='http://www.w3.org/1998/Math/MathML'><p><m:math/></p></article>".encode()
    )
    assert [child.tag for child in source.root.iter()] == [
        "article",
        "p",
        "{http://www.w3.org/1998/Math/MathML}math",
    ]
