"""The extraction's first stage: a batch of the archive to its articles and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from biomedica_kedro.batches import Batch, map_items
from biomedica_kedro.jats.article import complement, parse_article
from biomedica_kedro.jats.model import ParsedArticle
from biomedica_kedro.jats.rows import article_row, figure_row
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.records import ARTICLES, FIGURES, REJECTS, to_table

STAGE = "parse_articles"


@dataclass(frozen=True, slots=True)
class ArchivedArticle:
    """An article's text in the archive and the metadata beside it."""

    article_id: str
    xml: bytes
    metadata: bytes | None
    sha256: str


def parse_batch(batch: Batch, _: None = None) -> Mapping[str, pa.Table]:
    """Parse every article of a batch; articles = parsed + rejected."""
    articles: list[dict[str, object]] = []
    figures: list[dict[str, object]] = []
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:
        parsed, rejects = map_items(
            _parse, _archived(archive), stage=STAGE, source=lambda item: item.article_id, batch=batch
        )
    for one in parsed:
        articles.append(article_row(one.article))
        figures.extend(map(figure_row, one.figures))
    return {
        "articles": to_table(articles, ARTICLES),
        "figures": to_table(figures, FIGURES),
        "rejected_articles": to_table(rejects, REJECTS),
    }


def _parse(item: ArchivedArticle) -> ParsedArticle:
    parsed = complement(parse_article(item.xml, article_id=item.article_id), item.metadata)
    parsed.article.xml_sha256 = item.sha256
    return parsed


def _archived(archive: ArchiveReader) -> Iterator[ArchivedArticle]:
    index = archive.index.to_pylist()
    metadata = {row["article_id"]: row["member"] for row in index if row["kind"] == "json"}
    digests = {row["article_id"]: row["sha256"] for row in index if row["kind"] == "xml"}
    for article_id, xml in archive.articles():
        name = metadata.get(article_id)
        facts = None if name is None else archive.read(article_id, name)
        yield ArchivedArticle(article_id, xml, facts, digests[article_id])
