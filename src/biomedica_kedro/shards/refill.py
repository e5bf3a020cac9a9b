"""Figures that may not be passed on, as references: who has access to the articles fills in image and caption.

A published folder names in `references/*.parquet` what its licenses kept out: key, record without the article's words,
and by which file, of which size and checksum, the image is known, by which checksum the caption. `refill` reads the
articles where they lie, checks both, and writes shards like any others, for the user's own eyes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from biomedica_kedro.http import run_bounded
from biomedica_kedro.images.pairs import caption_for, mention_texts
from biomedica_kedro.jats.article import complement, parse_article
from biomedica_kedro.jats.model import article_row, figure_row
from biomedica_kedro.pmc.identifiers import known_pmcid
from biomedica_kedro.pmc.metadata import MAX_METADATA_BYTES, metadata_name, parse_metadata
from biomedica_kedro.pmc.source import Source
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.shards.fields import Row, article_part, image_part
from biomedica_kedro.shards.places import DEFAULT_ACCESS, Access
from biomedica_kedro.shards.publication import REFERENCES as REFERENCES_FOLDER
from biomedica_kedro.shards.samples import IMAGE, Sample
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.shards.tools import write_samples

BESIDE = f"{REFERENCES_FOLDER}.parquet"
_S, _I64 = pa.string(), pa.int64()
REFERENCES = pa.schema(
    {
        "key": _S, "article_id": _S, "figure_id": _S, "reason": _S, "license_code": _S, "file_name": _S,
        "n_bytes": _I64, "sha256": _S, "caption_sha256": _S, "record": _S,
    }
)  # fmt: skip

_MAX_XML_BYTES = 256_000_000
_ARTICLES_AT_ONCE = 64
_EXAMPLES = 10


@dataclass(slots=True)
class Refilled:
    """What came of the references of a folder.

    Attributes:
        n_samples: that were filled in and written.
        missing: references that were not, by reason.
        examples: the first few of them, with what was wrong.
    """

    n_samples: int
    missing: Counter[str]
    examples: list[str]


def reference_row(pair: Row, article: Row, label: Row, options: SampleOptions, reason: str) -> dict[str, Any]:
    """A figure as a row of `REFERENCES`.

    Args:
        pair: a row of `image_caption_pairs`.
        article: its row of `articles`.
        label: its row of `image_labels`, or nothing.
        options: say to which split its article belongs.
        reason: why it is not published, of `selection.KEPT_OUT`.
    """
    record = {**image_part(pair, article, label, options.split_of(pair["article_id"])), "figure_mentions": []}
    return {
        **{name: pair[name] for name in ("key", "article_id", "figure_id", "license_code", "file_name", "n_bytes")},
        "reason": reason,
        "sha256": pair["sha256"],
        "caption_sha256": hashlib.sha256(pair["caption"].encode()).hexdigest(),
        "record": orjson.dumps(record).decode(),
    }


def refill(
    published: str, target: str, source: Source, *, per_shard: int = 10_000, access: Access = DEFAULT_ACCESS
) -> Refilled:
    """Fill in the references of a published folder from the articles themselves.

    Args:
        published: the folder, local or a URL.
        target: folder for shards and their index.
        source: where the articles lie: PubMed Central, a mirror, packages.
        per_shard: samples of a shard.
        access: how the target is reached.
    Returns:
        How many were written, and what became of the others.
    Raises:
        FileNotFoundError: when the folder holds no references.
        SourceError: when the source as a whole cannot be read.
    """
    rows = sorted(read_references(published), key=itemgetter("article_id", "key"))
    done = Refilled(0, Counter(), [])
    samples = _samples(rows, source, done)
    done.n_samples = write_samples(samples, target, per_shard=per_shard, prefix="refilled", access=access)
    return done


def read_references(published: str) -> list[dict[str, Any]]:
    """Rows of `REFERENCES` of a published folder.

    Raises:
        FileNotFoundError: when it holds none.
    """
    system, root = url_to_fs(published)
    files = sorted(system.glob(f"{root.rstrip('/')}/{REFERENCES_FOLDER}/*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{published} holds no {REFERENCES_FOLDER}/*.parquet: nothing was kept out for its license, or this is "
            "no published folder"
        )
    tables = []
    for file in files:
        with system.open(file) as opened:
            tables.append(pq.read_table(opened))
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def _samples(rows: Sequence[Row], source: Source, done: Refilled) -> Iterator[Sample]:
    articles = [(article_id, list(own)) for article_id, own in groupby(rows, key=itemgetter("article_id"))]
    pmcids = {pmcid for article_id, _ in articles if (pmcid := known_pmcid(article_id))}
    # Articles without a PMCID are found among all that the source lists.
    wanted = pmcids if len(pmcids) == len(articles) else None
    listed = source.list_articles(wanted).select(["article_id", "location"]).to_pylist()
    places = {row["article_id"]: row["location"] for row in listed}

    async def fill(item: tuple[str, list[Row]]) -> list[Sample | str]:
        article_id, own = item
        if article_id not in places:
            return [f"{RejectReason.NOT_FOUND}: {row['key']}: the source does not list its article" for row in own]
        try:
            article = await _Article.read(source, article_id, places[article_id])
        except DataError as error:
            return [f"{error.reason}: {row['key']}: {error.detail}" for row in own]
        return [await article.sample(row) for row in own]

    for first in range(0, len(articles), _ARTICLES_AT_ONCE):
        part = articles[first : first + _ARTICLES_AT_ONCE]
        for found in run_bounded(fill, part, limit=source.articles_in_flight):
            for sample in found:
                if isinstance(sample, Sample):
                    yield sample
                    continue
                done.missing[sample.partition(":")[0]] += 1
                done.examples += [sample][: max(0, _EXAMPLES - len(done.examples))]


@dataclass(frozen=True, slots=True)
class _Article:
    """An article that was read: its row, its figures by id, and its files."""

    row: Row
    figures: Mapping[str, Row]
    files: Any

    @classmethod
    async def read(cls, source: Source, article_id: str, location: str) -> _Article:
        files = source.open_article(article_id, location)
        facts = await files.read(metadata_name(article_id), max_bytes=MAX_METADATA_BYTES)
        name = parse_metadata(facts, article_id).xml.name
        xml = await files.read(name, max_bytes=_MAX_XML_BYTES)
        parsed = complement(parse_article(xml, article_id=article_id), facts)
        figures = {figure.figure_id: figure_row(figure) for figure in parsed.figures}
        return cls(article_row(parsed.article), figures, files)

    async def sample(self, row: Row) -> Sample | str:
        """A reference filled in, or why it cannot be."""
        figure = self.figures.get(row["figure_id"])
        if figure is None:
            return f"{RejectReason.NOT_FOUND}: {row['key']}: the article has no figure {row['figure_id']} any more"
        record = orjson.loads(row["record"])
        captions = {caption_for(figure, language) for language in ("en", record["article_language"])}
        caption = next((text for text in captions if _sha256(text.encode()) == row["caption_sha256"]), None)
        if caption is None:
            return f"{RejectReason.CHECKSUM_MISMATCH}: {row['key']}: the caption has changed"
        try:
            image = await self.files.read(row["file_name"], max_bytes=max(1, row["n_bytes"]))
        except DataError as error:
            return f"{error.reason}: {row['key']}: {error.detail}"
        if _sha256(image) != row["sha256"]:
            return f"{RejectReason.CHECKSUM_MISMATCH}: {row['key']}: the image {row['file_name']} has changed"
        record["figure_mentions"] = mention_texts(figure["mentions"])
        return Sample(row["key"], image, IMAGE, caption, {**record, **article_part(self.row, [])})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
