"""Whole invented articles, several oddities in each; see tests/corpus_xml/README.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biomedica_kedro.jats import parse_article

FOLDER = Path(__file__).parents[1] / "corpus_xml"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_article_gives_the_expected_figures(name):
    parsed = parse_article((FOLDER / name).read_bytes(), article_id="PMC1.1")
    assert {
        f.figure_id: [
            f.kind,
            f.caption,
            [[g.href, g.part] for g in f.graphics],
            [[m.paragraph_index, m.via] for m in f.mentions],
            f.translation_of,
            f.parent_figure_id,
        ]
        for f in parsed.figures
    } == EXPECTED[name]


def test_every_article_has_expectations():
    assert sorted(EXPECTED) == sorted(path.name for path in FOLDER.glob("*.xml"))
