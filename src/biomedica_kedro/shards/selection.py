"""Which figures are published, and their records ready to be copied into any shard.

A shard's samples come from all batches, so whatever is needed to write one sample is laid out here, batch by batch, for
reading at random: a table with places, and a file that holds captions and JSON records. The article's part of a record
is kept once an article, however many figures it has.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.batches import Batch, map_items
from biomedica_kedro.pmc.identifiers import split_of
from biomedica_kedro.records import REJECTS, DataError, LicenseGroup, Options, RejectReason, to_table
from biomedica_kedro.shards.fields import LONG_FIELDS, Row, article_part, caption_variants, image_part
from biomedica_kedro.shards.samples import extension_of

RECORDS = ".records"
STAGE = "prepare_samples"

_S, _I64 = pa.string(), pa.int64()
PREPARED_SAMPLES = pa.schema(
    {
        "key": _S, "article_id": _S, "license_group": _S, "split": _S, "extension": _S, "content": _S,
        "image_offset": _I64, "image_bytes": _I64, "caption_offset": _I64, "caption_bytes": _I64,
        "record_bytes": _I64, "article_offset": _I64, "article_bytes": _I64,
    }
)  # fmt: skip
ARTICLE_TEXTS = pa.schema({"article_id": _S, "license_group": _S, "record": _S})


class Profile(StrEnum):
    """What a sample carries.

    FULL: the original image and the whole record. COMPACT: the long texts once an article, in `article_texts`.
    TRAINING: a resized image, the record without article, and every text to train with.
    """

    FULL = "full"
    COMPACT = "compact"
    TRAINING = "training"


class SampleOptions(Options):
    """Which figures are published, and what a sample carries.

    Attributes:
        profile: see `Profile`.
        license_groups: groups that are published.
        include_retracted: publish figures of retracted articles.
        include_not_redistributable: publish figures that are under other rights than their article.
        validation: share of articles in the validation split.
        test: share of articles in the test split.
    """

    profile: Profile = Profile.FULL
    license_groups: tuple[LicenseGroup, ...] = tuple(LicenseGroup)
    include_retracted: bool = False
    include_not_redistributable: bool = False
    validation: float = Field(default=0.05, ge=0, lt=1)
    test: float = Field(default=0.05, ge=0, lt=1)


def prepare_samples(batch: Batch, options: SampleOptions) -> dict[str, pa.Table]:
    """Lay out the samples of one batch of articles.

    Args:
        batch: with the inputs `image_caption_pairs`, `articles`, `article_archive` and perhaps `image_labels`.
        options: what is published.
    Returns:
        `prepared_samples`, `excluded_samples` (each with its reason) and `article_texts` (compact profile only).
    """
    articles = {row["article_id"]: row for row in batch.table("articles").to_pylist()}
    labels = (
        {row["key"]: row for row in batch.table("image_labels").to_pylist()} if "image_labels" in batch.inputs else {}
    )
    index = batch.table("article_archive").to_pylist()
    places = {(row["article_id"], row["member"]): (row["offset"], row["n_bytes"]) for row in index}
    seen: set[str] = set()

    def check(pair: Row) -> Row:
        exclude(pair, articles.get(pair["article_id"]), options)
        if (pair["article_id"], pair["file_name"]) not in places:
            raise DataError(RejectReason.MISSING_FILE, f"the archive holds no {pair['file_name']}")
        if pair["key"] in seen:
            raise DataError(RejectReason.DUPLICATE_KEY, pair["key"])
        seen.add(pair["key"])
        return pair

    pairs = sorted(batch.table("image_caption_pairs").to_pylist(), key=lambda pair: str(pair["key"]))
    kept, excluded = map_items(check, pairs, stage=STAGE, source=lambda pair: str(pair["key"]))
    texts: list[Row] = []
    with batch.open("prepared_samples", RECORDS) as file:
        layout = _Layout(file, options, places)
        for article_id, figures in _by_article(kept):
            article = articles[article_id]
            shared = article_part(article, figures)
            layout.add_article(article, shared, [(pair, labels.get(pair["key"], {})) for pair in figures])
            if options.profile is Profile.COMPACT:
                text = orjson.dumps(shared).decode()
                texts.append({"article_id": article_id, "license_group": article["license_group"], "record": text})
    return {
        "prepared_samples": to_table(layout.rows, PREPARED_SAMPLES),
        "excluded_samples": to_table(excluded, REJECTS),
        "article_texts": to_table(texts, ARTICLE_TEXTS),
    }


def exclude(pair: Row, article: Row | None, options: SampleOptions) -> None:
    """Do nothing when a figure may be published.

    Raises:
        DataError: says why it may not.
    """
    if article is None:
        raise DataError(RejectReason.NOT_FOUND, f"no article {pair['article_id']}")
    if article["is_retracted"] and not options.include_retracted:
        raise DataError(RejectReason.RETRACTED, pair["article_id"])
    if pair["redistributable"] is False and not options.include_not_redistributable:
        raise DataError(RejectReason.NOT_REDISTRIBUTABLE, f"license {pair['license_code']!r}, or other rights")
    if pair["license_group"] not in options.license_groups:
        raise DataError(RejectReason.NOT_REDISTRIBUTABLE, f"license group {pair['license_group']!r} is not selected")
    if not (pair["caption"] or "").strip():
        raise DataError(RejectReason.NO_CAPTION, pair["key"])


class _Layout:
    """Write captions and records into one file; `rows` says where."""

    def __init__(
        self, file: BinaryIO, options: SampleOptions, places: Mapping[tuple[str, str], tuple[int, int]]
    ) -> None:
        self._file = file
        self._options = options
        self._places = places
        self.rows: list[Row] = []

    def add_article(self, article: Row, shared: Mapping[str, Any], figures: Sequence[tuple[Row, Row]]) -> None:
        article_record = orjson.dumps(self._short(shared))
        article_offset = self._write(article_record)
        for pair, label in figures:
            split = split_of(pair["article_id"], validation=self._options.validation, test=self._options.test)
            image = image_part(pair, article, label, split)
            if self._options.profile is Profile.TRAINING:
                image["captions"] = caption_variants(pair)
            caption, record = pair["caption"].encode(), orjson.dumps(image)
            image_offset, image_bytes = self._places[pair["article_id"], pair["file_name"]]
            self.rows.append(
                {
                    "key": pair["key"],
                    "article_id": pair["article_id"],
                    "license_group": pair["license_group"],
                    "split": split,
                    "extension": extension_of(pair["format"]),
                    "content": _digest([pair["sha256"].encode(), caption, record, article_record]),
                    "image_offset": image_offset,
                    "image_bytes": image_bytes,
                    "caption_offset": self._write(caption + record),
                    "caption_bytes": len(caption),
                    "record_bytes": len(record),
                    "article_offset": article_offset,
                    "article_bytes": len(article_record),
                }
            )

    def _short(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        if self._options.profile is Profile.FULL:
            return dict(shared)
        if self._options.profile is Profile.COMPACT:
            return {name: value for name, value in shared.items() if name not in LONG_FIELDS}
        return {"article_accession_id": shared["article_accession_id"]}

    def _write(self, content: bytes) -> int:
        offset = self._file.tell()
        self._file.write(content)
        return offset


def _by_article(pairs: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for pair in pairs:
        groups[pair["article_id"]].append(pair)
    return sorted(groups.items())


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
