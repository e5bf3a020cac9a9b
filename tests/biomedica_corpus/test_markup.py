from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lxml import etree

from biomedica_corpus import read_manifest
from biomedica_corpus.plan import Flavor

NAMESPACE = "{https://jats.nlm.nih.gov/ns/archiving/1.4/}"


def articles(corpus: Path, flavor: Flavor) -> list[etree._Element]:
    truth = pq.read_table(corpus / "truth.parquet").to_pylist()
    ids = sorted({row["article_id"] for row in truth if row["flavor"] == flavor})
    return [etree.parse(corpus / name / f"{name}.xml").getroot() for name in ids]


def test_every_flavor_is_there(corpus: Path) -> None:
    assert set(pq.read_table(corpus / "truth.parquet")["flavor"].to_pylist()) == set(Flavor)


@pytest.mark.parametrize(
    ("flavor", "path"),
    [
        (Flavor.BARE, "body/sec/sec/fig[@id]/graphic"),
        (Flavor.NAMESPACED, f".//{NAMESPACE}fig//{NAMESPACE}tex-math"),
        (Flavor.IN_PARAGRAPH, "body/sec/sec/p/fig/alternatives/graphic[@content-type='thumb']"),
        (Flavor.FLOATS, "floats-group/fig/alt-text"),
        (Flavor.BOLD_XREFS, ".//bold/xref[@ref-type='fig']"),
        (Flavor.GROUPED, ".//fig-group/fig/graphic"),
        (Flavor.CHILD_FIGURES, ".//fig/p/fig[@specific-use='child-fig']"),
        (Flavor.BILINGUAL, ".//fig-group/fig[@{http://www.w3.org/XML/1998/namespace}lang='pt']"),
        (Flavor.TRANSLATION, "sub-article[@article-type='translation']//fig"),
        (Flavor.GRAPHICAL_ABSTRACT, ".//abstract[@abstract-type='graphical']//graphic"),
        (Flavor.PARTS, ".//fig[graphic]"),
    ],
)
def test_flavor_has_its_markup(corpus: Path, flavor: Flavor, path: str) -> None:
    found = articles(corpus, flavor)
    assert found
    assert all(root.find(path) is not None for root in found)


def test_only_planted_articles_are_ill_formed(corpus: Path) -> None:
    ill_formed = set()
    for path in corpus.glob("PMC*/*.xml"):
        try:
            etree.parse(path, etree.XMLParser(resolve_entities=False, no_network=True))
        except etree.XMLSyntaxError:
            ill_formed.add(path.parent.name)
    planted = {row["article_id"]: row["what"] for row in read_manifest(corpus)["planted"]}
    assert {planted[name] for name in ill_formed} <= {"malformed_xml", "mismatched_tag", "html_instead_of_xml"}
    assert "malformed_xml" in {planted[name] for name in ill_formed}


def test_plain_text_of_a_caption_is_that_of_the_truth(corpus: Path) -> None:
    truth = {(row["article_id"], row["figure_id"]): row for row in pq.read_table(corpus / "truth.parquet").to_pylist()}
    plain = [row for row in truth.values() if row["flavor"] in {Flavor.BARE, Flavor.FLOATS, Flavor.BOLD_XREFS}]
    for row in plain:
        root = etree.parse(corpus / row["article_id"] / f"{row['article_id']}.xml")
        (figure,) = root.xpath("//fig[@id=$id]", id=row["figure_id"])
        assert " ".join("".join(part.itertext()) for part in figure.find("caption")) == row["caption"]
