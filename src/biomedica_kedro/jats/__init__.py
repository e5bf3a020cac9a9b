"""JATS XML of one article to its record, figures, captions and mentions."""

from biomedica_kedro.jats.article import complement, parse_article
from biomedica_kedro.jats.model import Article, Figure, Graphic, Kind, Mention, Paragraph, ParsedArticle, Reference, Via

__all__ = [
    "Article",
    "Figure",
    "Graphic",
    "Kind",
    "Mention",
    "Paragraph",
    "ParsedArticle",
    "Reference",
    "Via",
    "complement",
    "parse_article",
]
