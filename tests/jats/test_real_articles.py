"""Real open-access articles: nothing is lost, whatever wrapping and writing the XML comes in."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
from lxml import etree

from biomedica_kedro.jats import parse_article
from biomedica_kedro.jats.figures import NOT_A_FIG
from tests.jats.slow_reference import figs_of, letters

NAMESPACE = "https://jats.nlm.nih.gov/ns/archiving/1.4/"
HREF = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def articles(shared_data) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((shared_data / "jats" / "xml").iterdir())}


@pytest.fixture(scope="module")
def essences(articles) -> dict[str, object]:
    return {name: essence(xml) for name, xml in articles.items()}


def essence(xml: bytes):
    parsed = parse_article(xml, article_id="PMC1.1")
    return [
        (
            [(g.href, g.part) for g in f.graphics], f.figure_id, f.kind, f.label, f.caption, f.translation_of,
            f.parent_figure_id, len({g.part for g in f.graphics}),
            [(m.paragraph_index, m.section, m.text, m.xref_text, m.via) for m in f.mentions],
            [(m.paragraph_index, m.via) for m in f.caption_mentions],
        )
        for f in parsed.figures
    ]  # fmt: skip


def test_every_figure_caption_graphic_and_mention_is_found(articles):
    compared = 0
    for name, xml in articles.items():
        parsed = parse_article(xml, article_id="PMC1.1")
        try:
            expected = figs_of(xml)
        except ElementTree.ParseError:
            continue
        found = [f for f in parsed.figures if NOT_A_FIG not in f.warnings]
        compared += len(expected)
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            place = f"{name} {one.figure_id}"
            inherited = (one.group_id is not None or one.kind == "graphical_abstract") and not other.caption
            assert inherited or letters(one.caption) == letters(other.caption), place
            assert [g.href for g in one.graphics] == other.hrefs, place
            direct = [m.paragraph_index for m in one.mentions if m.via == "direct"]
            assert direct == other.mentions, place
            in_captions = [m.paragraph_index for m in one.caption_mentions if m.via == "direct"]
            assert in_captions == other.caption_mentions, place
    assert compared > 1400


def test_paragraphs_are_told_once(articles):
    for name, xml in articles.items():
        indices = [p.index for p in parse_article(xml, article_id="PMC1.1").article.paragraphs]
        assert indices == sorted(set(indices)), name


def in_default_namespace(root: etree._Element) -> bytes:
    for element in root.iter():
        if isinstance(element.tag, str) and not element.tag.startswith("{"):
            element.tag = f"{{{NAMESPACE}}}{element.tag}"
    return etree.tostring(root)


def in_oai(root: etree._Element) -> bytes:
    article = etree.tostring(root)
    return (
        b"<OAI-PMH xmlns='http://www.openarchives.org/OAI/2.0/'><GetRecord><record><metadata>"
        + article.replace(b"<article", b"<article xmlns=''", 1)
        + b"</metadata></record></GetRecord></OAI-PMH>"
    )


def in_article_set(root: etree._Element) -> bytes:
    return b"<?xml version='1.0'?><pmc-articleset>" + etree.tostring(root) + b"</pmc-articleset>"


def sprinkled(root: etree._Element) -> bytes:
    """Comments and instructions wherever text stands."""
    xml = etree.tostring(root, encoding="unicode")
    return re.sub(r"(?<=[a-z]{3}) (?=[a-z]{3}[^<>\"]*<)", " <!-- c --><?pi x?>", xml).encode()


@pytest.mark.parametrize("rewrite", [in_default_namespace, in_oai, in_article_set, sprinkled], ids=lambda f: f.__name__)
def test_writing_makes_no_difference(articles, essences, rewrite: Callable[[etree._Element], bytes]):
    for name, xml in articles.items():
        root = plain_root(xml)
        assert essence(rewrite(root)) == essences[name], name


def with_extensions(root: etree._Element) -> bytes:
    for graphic in root.iter("graphic"):
        if graphic.get(HREF) and not re.search(r"\.\w{3,4}$", graphic.get(HREF)):
            graphic.set(HREF, graphic.get(HREF) + ".jpg")
    return etree.tostring(root)


def with_alternatives(root: etree._Element) -> bytes:
    """A thumbnail beside every graphic of a figure, in `<alternatives>`."""
    for graphic in list(root.iter("graphic")):
        parent = graphic.getparent()
        if parent.tag == "fig" and graphic.get(HREF):
            both = etree.Element("alternatives")
            parent.replace(graphic, both)
            both.tail, graphic.tail = graphic.tail, None
            thumbnail = etree.Element("graphic", {HREF: f"{graphic.get(HREF)}_thumb.gif", "content-type": "thumb"})
            both.extend([graphic, thumbnail])
    return etree.tostring(root)


@pytest.mark.parametrize("rewrite", [with_extensions, with_alternatives], ids=lambda f: f.__name__)
def test_names_and_renditions_make_no_other_figures(articles, essences, rewrite: Callable[[etree._Element], bytes]):
    for name, xml in articles.items():
        changed = essence(rewrite(plain_root(xml)))
        assert [figure[1:] for figure in changed] == [figure[1:] for figure in essences[name]], name


def plain_root(xml: bytes) -> etree._Element:
    """The article as lxml reads it, without the parser under test."""
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, recover=True, remove_comments=True
    )
    root = etree.fromstring(xml, parser)
    return root if root.tag == "article" else next(root.iter("article"))
