"""Writes the embedded corpus to a folder that looks like PMC's bucket, on as many processes as asked."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_corpus.bucket import ArticleObjects, digest_of_folder, inventory_objects, md5_of, write_objects
from biomedica_corpus.classes import CLASSES
from biomedica_corpus.draw_once import code_digest, draw_once
from biomedica_corpus.faults import plant_faults
from biomedica_corpus.options import CorpusOptions
from biomedica_corpus.plan import ArticlePlan, plan_corpus
from biomedica_corpus.render import render_article
from biomedica_corpus.truth import TRUTH, benchmark_tables, expert_votes, truth_of
from biomedica_kedro.records import Split

logger = logging.getLogger(__name__)

MANIFEST = "corpus.json"
_ARTICLES_PER_TASK = 10
_FEW_ARTICLES = 60
_ARTICLES_PER_LINE = 100

InventoryRow = tuple[str, str, str]


def write_corpus(folder: Path, options: CorpusOptions | None = None) -> None:
    """Write the corpus; `corpus.json`, written last, says that it is complete and holds its digest.

    Does nothing when the folder already holds the corpus of these options, drawn by this code. The bytes do not
    depend on `options.workers`.

    Args:
        folder: absent, empty, or an earlier corpus, which is replaced.
        options: seed and sizes; by default those that the folder's corpus was drawn with, if it holds one.
    Raises:
        FileExistsError: when the folder holds something that is not a corpus.
    """
    chosen = options or _options_before(folder)
    started = time.monotonic()
    origin = {"options": chosen.model_dump(exclude={"workers"}), "code": code_digest(Path(__file__).parent)}
    if draw_once(folder, MANIFEST, origin, partial(_draw, chosen)):
        counts = read_manifest(folder)["counts"]
        words = f"{counts['articles']} articles with {counts['images']} images"
        logger.info("Drew the embedded corpus, %s, in %.1f s: %s", words, time.monotonic() - started, folder)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `corpus.json` says: options and code it was drawn with, digest, counts, classes and planted faults."""
    manifest: dict[str, Any] = orjson.loads((folder / MANIFEST).read_bytes())
    return manifest


def _options_before(folder: Path) -> CorpusOptions:
    try:
        return CorpusOptions.model_validate(read_manifest(folder)["options"])
    except (FileNotFoundError, KeyError, ValueError):  # none there, damaged, or of a version with other options
        return CorpusOptions()


def _draw(options: CorpusOptions, folder: Path) -> dict[str, object]:
    articles = plan_corpus(options)
    logger.info("Drawing the embedded corpus of %d articles", len(articles))
    planted = _write_bucket(folder, options, articles)
    truth = [row for article in articles for row in truth_of(article)]
    _write_truth(folder, options, truth)
    digest = digest_of_folder(folder)
    return {"digest": digest, "counts": _counts(articles, truth), "planted": planted, "classes": _class_rows()}


def _counts(articles: Sequence[ArticlePlan], truth: Sequence[dict[str, object]]) -> dict[str, object]:
    held_out = [row["class_ids"] for row in truth if row["split"] == Split.TEST and row["panel_type"] == "single"]
    by_class = Counter(str(ids[0]) for ids in held_out if isinstance(ids, list))
    return {
        "articles": len(articles),
        "images": len(truth),
        "articles_by_split": dict(Counter(article.split.value for article in articles)),
        "held_out_single_panels_by_class": dict(by_class),
    }


def _class_rows() -> list[dict[str, str]]:
    kinds = [panel.kind for panel in CLASSES]
    return [{"id": k.id, "noun": k.noun, "primary": k.primary, "secondary": k.secondary} for k in kinds]


def _write_bucket(folder: Path, options: CorpusOptions, articles: Sequence[ArticlePlan]) -> list[dict[str, str]]:
    """Write all objects and the inventory; returns what was broken on purpose."""
    inventory: list[InventoryRow] = []
    for row in _write_articles(folder, options, articles):
        inventory.append(row)
        if len(inventory) % _ARTICLES_PER_LINE == 0:
            logger.info("Drew %d of %d articles", len(inventory), len(articles))
    planted = []
    for fault, article, objects in plant_faults(options) if options.planted_faults else ():
        inventory.append(_write_article(folder, article, objects))
        words = {"what": fault.name, "stage": fault.stage, "expected": str(fault.expected)}
        planted.append({"article_id": article.article_id, **words})
    write_objects(folder, inventory_objects(inventory))
    return planted


def _write_articles(folder: Path, options: CorpusOptions, articles: Sequence[ArticlePlan]) -> Iterator[InventoryRow]:
    chunks = [articles[start : start + _ARTICLES_PER_TASK] for start in range(0, len(articles), _ARTICLES_PER_TASK)]
    if options.workers == 1 or len(articles) <= _FEW_ARTICLES:
        for chunk in chunks:
            yield from _write_chunk(folder, options, chunk)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn, initializer=_end_with_parent) as pool:
        for rows in pool.map(_write_chunk, repeat(folder), repeat(options), chunks):
            yield from rows


def _end_with_parent() -> None:
    """End this worker when its parent is killed; it would go on writing into a folder that the next run draws."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_chunk(folder: Path, options: CorpusOptions, articles: Sequence[ArticlePlan]) -> list[InventoryRow]:
    return [_write_article(folder, article, render_article(options, article)) for article in articles]


def _write_article(folder: Path, article: ArticlePlan, objects: ArticleObjects) -> InventoryRow:
    write_objects(folder, objects.served())
    changed = f"{article.publication_date}T12:00:00.000Z"
    return f"metadata/{article.article_id}.json", changed, md5_of(objects.metadata_json())


def _write_truth(folder: Path, options: CorpusOptions, truth: Sequence[dict[str, object]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(truth), schema=TRUTH), folder / "truth.parquet")
    write_objects(folder, {"annotations/expert_votes.csv": expert_votes(options.seed, truth)})
    tables = benchmark_tables(options.seed, truth, lambda article, name: (folder / article / name).read_bytes())
    for task_id, table in tables:
        path = folder / "benchmark" / task_id / "rows.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path, compression="none")
