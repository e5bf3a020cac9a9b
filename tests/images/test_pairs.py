"""Pairs: the license under which an image and its caption go on."""

from __future__ import annotations

import pytest

from biomedica_kedro.images.pairs import PairOptions, make_pair
from biomedica_kedro.jats import parse_article
from biomedica_kedro.jats.model import article_row, figure_row
from tests.jats.conftest import article_xml

IMAGE = {
    "article_id": "PMC1.1", "figure_id": "F", "part": 0, "image_id": "g", "file_name": "g.jpg", "format": "jpg",
    "width": 64, "height": 64, "mode": "RGB", "n_bytes": 9, "sha256": "", "phash": "",
}  # fmt: skip
BY = "http://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("article", "figure", "code", "group"),
    [
        (BY, None, "CC BY", "commercial"),
        (BY, "https://creativecommons.org/licenses/by-nc/4.0/", "CC BY-NC", "noncommercial"),
        ("https://creativecommons.org/licenses/by-nc/4.0/", BY, "CC BY-NC", "noncommercial"),
        (BY, "https://leaf.example/terms", "CC BY", "commercial"),
        ("https://leaf.example/terms", BY, None, "other"),
    ],
    ids=["article's own", "figure narrower", "article narrower", "figure unknown", "article unknown"],
)
def test_pair_has_the_narrower_license_of_article_and_figure(article, figure, code, group):
    own = f"<permissions><license xlink:href='{figure}'/></permissions>" if figure else ""
    body = f"<fig id='F'><caption><p>Leaves.</p></caption><graphic xlink:href='g'/>{own}</fig>"
    front = f"<permissions><license xlink:href='{article}'/></permissions>"
    parsed = parse_article(article_xml(body, front=front), article_id="PMC1.1")
    pair = make_pair(IMAGE, figure_row(parsed.figures[0]), article_row(parsed.article), PairOptions())
    assert (pair["license_code"], pair["license_group"]) == (code, group)
