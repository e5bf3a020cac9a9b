"""Small articles for the tests of `jats`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from biomedica_kedro.jats import ParsedArticle, parse_article

NAMESPACES = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'


def article_xml(body: str = "", *, front: str = "", after: str = "", attributes: str = "") -> bytes:
    return (
        f"<article {NAMESPACES} {attributes}><front><article-meta>{front}</article-meta></front>"
        f"<body>{body}</body>{after}</article>"
    ).encode()


@pytest.fixture
def parse() -> Callable[..., ParsedArticle]:
    def run(body: str = "", **parts: str) -> ParsedArticle:
        return parse_article(article_xml(body, **parts), article_id="PMC1.1")

    return run
