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

from biomedica_kedro.pmc.identifiers import split_of
from biomedica_kedro.records import DataError, LicenseGroup, Options, RejectReason, Split
from biomedica_kedro.shards.fields import (
    ARTICLE_FIELDS,
    CAPTIONS,
    IMAGE_FIELDS,
    LONG_FIELDS,
    Row,
    caption_variants,
    image_part,
    without_nulls,
)

RECORDS = "records.bin"

_S, _I64 = pa.string(), pa.int64()
PREPARED_SAMPLES = pa.schema(
    {
        "key": _S, "article_id": _S, "subset": _S, "split": _S, "license_code": _S, "content": _S,
        "image_offset": _I64, "image_bytes": _I64, "caption_offset": _I64, "caption_bytes": _I64,
        "record_bytes": _I64, "article_offset": _I64, "article_bytes": _I64,
    }
)  # fmt: skip
ARTICLE_TEXTS = pa.schema({"article_id": _S, "license_group": _S, "record": _S})


class Subset(StrEnum):
    """Parts of the data set that are published apart, by what may be done with them.

    OTHER: the license is stated, but neither of the two groups. UNLICENSED: the article states none.
    """

    COMMERCIAL = "commercial"
    NONCOMMERCIAL = "noncommercial"
    OTHER = "other"
    UNLICENSED = "unlicensed"


# Why a figure is published as a reference alone; what is retracted, or no pair at all, is not.
KEPT_OUT = (RejectReason.LICENSE_GROUP, RejectReason.NO_LICENSE, RejectReason.NOT_REDISTRIBUTABLE)

# Published unless other subsets are named; the others lie in folders of their own.
OPEN_SUBSETS = (Subset.COMMERCIAL, Subset.NONCOMMERCIAL)


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
        license_groups: subsets that are published; "other" and "unlicensed" only when they are named here.
        include_retracted: publish figures of retracted articles.
        include_not_redistributable: publish figures that are under other rights than their article.
        panels: publish the panels of compound figures as samples of their own, too; see `panels`.
        validation: share of articles in the validation split.
        test: share of articles in the test split.
    """

    profile: Profile = Profile.FULL
    license_groups: tuple[Subset, ...] = OPEN_SUBSETS
    include_retracted: bool = False
    include_not_redistributable: bool = False
    panels: bool = False
    validation: float = Field(default=0.05, ge=0, lt=1)
    test: float = Field(default=0.05, ge=0, lt=1)

    def split_of(self, article_id: str) -> Split:
        """Part of the data set an article belongs to."""
        return split_of(article_id, validation=self.validation, test=self.test)


def subset_of(license_code: str | None, group: str) -> Subset:
    """The subset a figure is published in."""
    if group == LicenseGroup.OTHER and not license_code:
        return Subset.UNLICENSED
    return Subset(group)


def record_schema(profile: Profile) -> pa.Schema:
    """Fields of every record of a profile, in their order."""
    captions = [CAPTIONS] if profile is Profile.TRAINING else []
    return pa.schema([*IMAGE_FIELDS, *captions, *article_schema(profile)])


def article_schema(profile: Profile) -> pa.Schema:
    """The article's part of a record of a profile."""
    kept = {
        Profile.FULL: ARTICLE_FIELDS.names,
        Profile.COMPACT: [name for name in ARTICLE_FIELDS.names if name not in LONG_FIELDS],
        Profile.TRAINING: ["article_accession_id"],
    }[profile]
    return pa.schema([ARTICLE_FIELDS.field(name) for name in kept])


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
    subset = subset_of(pair["license_code"], pair["license_group"])
    if subset not in options.license_groups:
        reason = RejectReason.NO_LICENSE if subset is Subset.UNLICENSED else RejectReason.LICENSE_GROUP
        raise DataError(reason, f"license {pair['license_code']!r}: subset {subset!s} is not selected")
    if not (pair["caption"] or "").strip():
        raise DataError(RejectReason.NO_CAPTION, pair["key"])


class SampleLayout:
    """Write captions and records into one file; `rows` (`PREPARED_SAMPLES`) says where."""

    def __init__(
        self, file: BinaryIO, options: SampleOptions, places: Mapping[tuple[str, str], tuple[int, int]]
    ) -> None:
        """Args: file: is written to; options: what a sample carries; places: offset and size of each archived file."""
        self._file = file
        self._options = options
        self._places = places
        self.rows: list[Row] = []

    def add_article(self, article: Row, shared: Mapping[str, Any], figures: Sequence[tuple[Row, Row]]) -> None:
        """Add the figures of an article, each with its label; `shared` is the article's part of their records."""
        article_record = orjson.dumps(without_nulls(shared, article_schema(self._options.profile)))
        article_offset = self._write(article_record)
        for pair, label in figures:
            split = self._options.split_of(pair["article_id"])
            image = image_part(pair, article, label, split)
            if self._options.profile is Profile.TRAINING:
                image["captions"] = caption_variants(pair)
            caption, record = pair["caption"].encode(), orjson.dumps(image)
            image_offset, image_bytes = self._places[pair["article_id"], pair["file_name"]]
            self.rows.append(
                {
                    "key": pair["key"],
                    "article_id": pair["article_id"],
                    "subset": subset_of(pair["license_code"], pair["license_group"]),
                    "split": split,
                    "license_code": pair["license_code"],
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

    def _write(self, content: bytes) -> int:
        offset = self._file.tell()
        self._file.write(content)
        return offset


def by_article(pairs: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Pairs by article, sorted."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for pair in pairs:
        groups[pair["article_id"]].append(pair)
    return sorted(groups.items())


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
