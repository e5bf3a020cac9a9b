"""Articles in the JSON of the original BIOMEDICA extraction, so that what reads it can switch to this one.

The names are the original's: `figure_set` holds the images of an article, `context` the paragraphs that mention each.
docs/how-to/original-json.md lists what differs, all of it defects of the original.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import atomic_file

Row = Mapping[str, Any]


def export_articles(articles: BatchFolder, image_caption_pairs: BatchFolder, folder: Path) -> list[Path]:
    """Write one JSON list per batch.

    Args:
        articles: the data set `articles`.
        image_caption_pairs: the data set `image_caption_pairs`.
        folder: where to write `{batch}.json`.
    Returns:
        The files written.
    """
    written = []
    for batch in articles.names():
        pairs: dict[str, list[Row]] = defaultdict(list)
        for pair in image_caption_pairs.table(batch).to_pylist():
            pairs[pair["article_id"]].append(pair)
        rows = articles.table(batch).to_pylist()
        path = folder / f"{batch}.json"
        with atomic_file(path) as file:
            file.write(orjson.dumps([original_article(row, pairs[row["article_id"]]) for row in rows]))
        written.append(path)
    return written


def original_article(article: Row, pairs: Sequence[Row]) -> dict[str, Any]:
    """One article under the original's names.

    Args:
        article: a row of `articles`.
        pairs: the article's rows of `image_caption_pairs`.
    """
    references = article["references"] or []
    return {
        "accession_id": article["pmcid"],
        "citation": article["citation"],
        "license": article["license_code"],
        "date": unix_seconds(article["publication_date"]),
        "journal": article["journal"],
        "title": article["title"],
        "abstract": article["abstract"],
        "keyword": list(article["keywords"] or ()),
        "pmid": article["pmid"],
        "article_categories": list(article["subjects"] or ()),
        "mesh": list(article["mesh_terms"] or ()),
        "figure_set": [_figure(pair) for pair in pairs],
        "context": {pair["image_id"]: list(pair["mentions"] or ()) for pair in pairs},
        "nxml": "\n".join(paragraph["text"] for paragraph in article["paragraphs"] or ()),
        "reference_ids": [reference["pmid"] for reference in references if reference["pmid"]],
        "reference_count": len(references),
    }


def unix_seconds(date: str | None) -> str | None:
    """Seconds since 1970 of the first instant, in UTC, of "2009", "2009-02" or "2009-02-28", as a string."""
    if not date:
        return None
    year, month, day = (int(part) for part in (*date.split("-"), "1", "1")[:3])
    return str(int(datetime(year, month, day, tzinfo=UTC).timestamp()))


def _figure(pair: Row) -> dict[str, Any]:
    return {
        "image_id": pair["image_id"],
        "image_file_name": pair["file_name"],
        "image_path": f"{pair['article_id']}/{pair['file_name']}",
        "caption": pair["caption"],
        "hash": pair["sha256"],
    }
