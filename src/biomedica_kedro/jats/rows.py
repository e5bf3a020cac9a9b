"""Rows of the tables `articles` and `figures`: the records of one article as nested plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from biomedica_kedro.jats.model import Article, Figure

_NESTED_IN_ARTICLE = ("paragraphs", "references")
_NESTED_IN_FIGURE = ("graphics", "mentions", "caption_mentions")


def article_row(article: Article) -> dict[str, Any]:
    """An article as a row of `records.ARTICLES`."""
    return _row(article, _NESTED_IN_ARTICLE)


def figure_row(figure: Figure) -> dict[str, Any]:
    """A figure as a row of `records.FIGURES`; Arrow takes a map as a list of pairs."""
    row = _row(figure, _NESTED_IN_FIGURE)
    row["captions_by_language"] = sorted(figure.captions_by_language.items())
    return row


def _row(record: Article | Figure, nested: Sequence[str]) -> dict[str, Any]:
    row = {field.name: getattr(record, field.name) for field in fields(record)}
    for name in nested:
        row[name] = [asdict(item) for item in row[name]]
    return row
