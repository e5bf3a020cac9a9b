"""What XML from outside may not do; the limits as articles meet them are tested in tests/jats/test_parser.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lxml import etree

from biomedica_kedro.pmc.entrez import parse_records
from biomedica_kedro.xml_parser import make_parser

BOTH = pytest.mark.parametrize("recover", [False, True], ids=["strict", "repairing"])


def text_of(xml: str, *, recover: bool) -> str:
    return "".join(etree.fromstring(xml.encode(), make_parser(recover=recover)).itertext(etree.Element))


@BOTH
@pytest.mark.parametrize(
    "declaration", ["<!ENTITY x SYSTEM '{}'>", "<!ENTITY % x SYSTEM '{}'>%x;"], ids=["text", "dtd"]
)
def test_files_are_never_read(tmp_path: Path, declaration: str, *, recover: bool) -> None:
    (tmp_path / "secret").write_text("<!ENTITY x 'S3CRET'>")
    secret = declaration.format((tmp_path / "secret").as_uri())
    assert "S3CRET" not in text_of(f"<!DOCTYPE a [{secret}]><a><b/>&x;</a>", recover=recover)


@BOTH
def test_a_document_type_gives_no_default(tmp_path: Path, *, recover: bool) -> None:
    (tmp_path / "x.dtd").write_text("<!ATTLIST a b CDATA 'FROM-DISK'>")
    xml = f"<!DOCTYPE a SYSTEM '{tmp_path / 'x.dtd'}'><a/>"
    assert etree.fromstring(xml.encode(), make_parser(recover=recover)).get("b") is None


def bomb(depth: int) -> str:
    lines = ["<!ENTITY a0 'haha'>", *(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, depth))]
    return f"<!DOCTYPE a [{''.join(lines)}]><a>&a{depth - 1};</a>"


@BOTH
def test_own_entities_are_not_expanded(*, recover: bool) -> None:
    assert len(text_of(bomb(3), recover=recover)) < 100


def test_entity_bombs_are_refused() -> None:
    with pytest.raises(etree.XMLSyntaxError, match="amplification"):
        text_of(bomb(9), recover=False)


@pytest.mark.parametrize(
    "xml", [b"<a>" * 300 + b"</a>" * 300, b"<a>" + b"x" * (11 << 20) + b"</a>"], ids=["deep", "huge text"]
)
def test_depth_and_size_are_bounded(xml: bytes) -> None:
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(xml, make_parser())


def test_comments_and_instructions_are_left_out() -> None:
    assert etree.tostring(etree.fromstring(b"<a>b<!-- c -->d<?e f?>g</a>", make_parser())) == b"<a>bdg</a>"


def test_answers_of_pubmed_are_read_with_the_same_care(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("S3CRET")
    entity = f"<!ENTITY x SYSTEM '{(tmp_path / 'secret').as_uri()}'>"
    keyword = "<KeywordList><Keyword>cells &x;</Keyword></KeywordList>"
    article = f"<PubmedArticle><MedlineCitation><PMID>1</PMID>{keyword}</MedlineCitation></PubmedArticle>"
    xml = f"<!DOCTYPE PubmedArticleSet [{entity}]><PubmedArticleSet>{article}</PubmedArticleSet>"
    assert "S3CRET" not in str(list(parse_records(xml.encode())))


def test_parsers_are_made_in_one_place_and_none_is_lxmls_own() -> None:
    sources = {path.name: path.read_text() for path in (Path(__file__).parents[1] / "src").rglob("*.py")}
    makers = [name for name, text in sources.items() if re.search(r"XMLParser\(|XMLPullParser\(|HTMLParser\(", text)]
    assert makers == ["xml_parser.py"]
    unguarded = r"etree\.(XML|parse|iterparse)\(|fromstring\([^,()]*\)|ElementTree"
    assert [name for name, text in sources.items() if re.search(unguarded, text)] == []
