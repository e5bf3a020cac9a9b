"""Inputs of kinds that people reported in public, and what should come out of each (`shared/data/cases`).

Every case of the table is either told here by its own words ("title -> 'A'"), or asked of the function that answers it.
"""

from __future__ import annotations

import ast
import asyncio
import csv

import orjson
import pytest

from biomedica_kedro.images.fingerprints import read_facts
from biomedica_kedro.images.pairs import PairOptions, caption_for
from biomedica_kedro.jats import parse_article
from biomedica_kedro.jats.model import figure_row
from biomedica_kedro.pmc.file_index import FileIndex
from biomedica_kedro.pmc.licenses import license_group, read_license
from biomedica_kedro.pmc.metadata import parse_metadata
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.records import DataError

ARTICLE_FIELDS = {"is_retracted", "license_group", "title", "abstract", "authors", "publication_date"}
# Cases whose table cell is a sentence: the same, as values.
SENTENCES = {
    "08-title-withdrawal-json-says-no": ("caption", "Caption 1."),
    "12-webp-cited": ("graphics of the figure", [("SS-6-g001.webp", 0)]),
    "47-ga-fig-and-sibling-p": ("caption", "Key finding: cells migrate."),
    "76-floats-no-body": ("captions of the panels", ["Caption 1."]),
    "79-caption-lang-en-US": ("english", "Legend."),
    "81-caption-lang-eng": ("english", "Legend."),
    "130-articleset-two": ("caption", "Caption of 1."),
    "159-plos-formula-in-caption": ("graphics of the figure", [("pone.1.g001", 0)]),
}
FIGURES = {
    "caption": lambda figures: next(figure.caption for figure in figures if figure.graphics),
    "captions of the panels": lambda figures: [figure.caption for figure in figures if figure.graphics],
    "label, caption": lambda figures: (figures[0].label, figures[0].caption),
    "graphics of the figure": lambda figures: [(graphic.file_name, graphic.part) for graphic in figures[0].graphics],
    "redistributable": lambda figures: figures[0].redistributable,
    "english": lambda figures: caption_for(figure_row(figures[0]), PairOptions().language),
    "which figures are mentioned": lambda figures: [figure.figure_id for figure in figures if figure.mentions],
    "mentions": lambda figures: len(figures[0].mentions),
}


@pytest.fixture(scope="module")
def cases(shared_data):
    folder = shared_data / "cases" / "jats"
    if not folder.is_dir():
        pytest.skip("the reported cases are not here")
    with (folder / "cases.tsv").open() as file:
        return [(folder / row["case"], row["input"], row["expected"]) for row in csv.DictReader(file, delimiter="\t")]


def test_every_reported_article_comes_out_right(cases):
    articles = [case for case in cases if case[0].suffix == ".xml"]
    wrong = {path.name: found for path, said, expected in articles if (found := difference(path, said, expected))}
    assert len(articles) > 80
    assert wrong == {}


def difference(path, said, expected):
    """What is wrong with a case; empty when nothing is."""
    try:
        parsed = parse_article(path.read_bytes(), article_id="PMC1.1")
    except DataError as error:
        may_be_refused = "malformed" in expected or expected == error.reason
        return "" if may_be_refused else str(error)
    article, figures = parsed.article, parsed.figures
    if "malformed" in expected:
        return "" if len(figures) == 5 else f"{len(figures)} figures"
    if path.stem == "28-license-conflict":
        return "" if article.warnings and article.license_group != "commercial" else article.license_code
    if path.stem == "50-collab-members":
        return "" if article.authors[0] == "The Atlas Group" else article.authors
    if path.stem == "70-fig-bare-text":
        return "" if "structure of the system" in figures[0].caption else figures[0].caption
    if path.stem == "156-power-of-ten":
        return "" if "10^5" in figures[0].caption else figures[0].caption
    what, _, value = expected.rpartition(" -> ")
    what, wanted = SENTENCES.get(path.stem) or (what or said, ast.literal_eval(value))
    found = getattr(article, what) if what in ARTICLE_FIELDS else FIGURES[what](figures)
    return "" if found == wanted else f"{what}: {found!r}, expected {wanted!r}"


def test_reported_images_are_read_upright(cases):
    facts = {
        path.name: read_facts(path.read_bytes())
        for path, _, _ in cases
        if path.suffix in (".jpg", ".jpeg", ".png", ".webp")
    }
    assert facts["10-figure.webp"].format == "webp"
    assert facts["136-camera-mpo.jpg"].format == "jpg"
    assert (facts["137-exif-orientation.jpg"].width, facts["137-exif-orientation.jpg"].height) == (64, 80)
    assert len(facts) == 5


def test_reported_names_find_their_file(cases):
    asked = {
        path.stem: (orjson.loads(path.read_bytes()), expected) for path, _, expected in cases if path.suffix == ".json"
    }
    metadata, _ = asked.pop("11-webp-metadata")
    assert parse_metadata(orjson.dumps(metadata), "PMC13.1").image_names == ["SS-6-g001.webp"]
    for case, expected in asked.values():
        assert FileIndex(dict.fromkeys(case["files"], 9)).find(case["href"]) == expected


def test_reported_license_address_is_no_commercial_one(cases):
    (address,) = [path.read_text() for path, _, _ in cases if path.suffix == ".txt"]
    assert license_group(read_license(address).code) == "noncommercial"


def test_reported_packages_give_their_own_article_and_its_full_image(cases, tmp_path):
    n_bytes = {}
    for path in (path for path, _, _ in cases if path.suffix == ".gz"):
        folder = tmp_path / path.stem
        folder.mkdir()
        (folder / path.name).write_bytes(path.read_bytes())
        (row,) = PackagesSource(folder).list_articles().to_pylist()
        article = PackagesSource(folder).open_article(row["article_id"], row["location"])
        assert b"a-g001" in asyncio.run(article.read("PMC1.1.xml", max_bytes=9999))
        n_bytes[path.name] = len(asyncio.run(article.read("a-g001.jpg", max_bytes=9999)))
    assert n_bytes == {"143-package-second-xml.tar.gz": 3, "144-package-thumb-folder.tar.gz": 12}
