"""What the stages hand to each other: options, rejects and the Arrow schemas of the tables.

Source: BIOMEDICA (arXiv 2501.07171) section 2 for the fields. Columns may be added freely; the names here are what
others rely on. How rows are spread over batches is the business of `batches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from biomedica_kedro.close_match import close_match


class _How:
    """See `HOW`."""

    def __repr__(self) -> str:
        return "HOW"


# Marks a field of options that says how work is done and not what comes out: `threads: Annotated[int, HOW] = 2`.
HOW = _How()


class Options(BaseModel):
    """Frozen, strictly validated parameters of one node: an unknown key is an error that names the close match."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _suggest_known_keys(cls, values: object) -> object:
        if isinstance(values, dict):
            for key in values.keys() - cls.model_fields.keys():
                raise ValueError(f"unknown parameter {key!r}: {close_match(str(key), cls.model_fields)}")
        return values


class LicenseGroup(StrEnum):
    """What may be done with an article (BIOMEDICA's three subsets)."""

    COMMERCIAL = "commercial"
    NONCOMMERCIAL = "noncommercial"
    OTHER = "other"


class Split(StrEnum):
    """Part of the data set an article belongs to; all figures of an article share it."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class RejectReason(StrEnum):
    """Why a record left the flow: stable codes, listed in docs/rejects.md."""

    REMOVED = "removed"
    UNREADABLE_METADATA = "unreadable_metadata"
    SUPERSEDED = "superseded"
    MANUSCRIPT = "manuscript"
    HISTORICAL_OCR = "historical_ocr"
    LICENSE_GROUP = "license_group"
    NO_LICENSE = "no_license"
    JOURNAL = "journal"
    DATE = "date"
    NO_MEDIA = "no_media"
    NOT_SAMPLED = "not_sampled"
    HELD_OUT = "held_out"
    NOT_SELECTED = "not_selected"
    NOT_FOUND = "not_found"
    DOWNLOAD_FAILED = "download_failed"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    TOO_LARGE = "too_large"
    FORBIDDEN_KEY = "forbidden_key"
    INVALID_METADATA = "invalid_metadata"
    TRUNCATED_PACKAGE = "truncated_package"
    UNSAFE_MEMBER = "unsafe_member"
    MALFORMED_XML = "malformed_xml"
    HOSTILE_XML = "hostile_xml"
    NOT_AN_ARTICLE = "not_an_article"
    NO_GRAPHIC = "no_graphic"
    MISSING_FILE = "missing_file"
    NOT_AN_IMAGE = "not_an_image"
    CORRUPT_IMAGE = "corrupt_image"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SMALL = "image_too_small"
    UNSUPPORTED_FORMAT = "unsupported_format"
    BOX_OUTSIDE_IMAGE = "box_outside_image"
    NO_CAPTION = "no_caption"
    EXCLUDED_KIND = "excluded_kind"
    TRANSLATION = "translation"
    RETRACTED = "retracted"
    NOT_REDISTRIBUTABLE = "not_redistributable"
    DUPLICATE_KEY = "duplicate_key"
    NO_DERIVATIVES = "no_derivatives"
    INVALID_TASK_ROW = "invalid_task_row"
    NO_QUESTION = "no_question"
    NOT_A_CLASS = "not_a_class"
    WORKER_KILLED = "worker_killed"
    UNEXPECTED_ERROR = "unexpected_error"


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that could not go on: which one, where, and why."""

    source: str
    stage: str
    reason: RejectReason
    detail: str = ""


class DataError(Exception):
    """Raised by a function that treats one item when the item cannot be used; becomes a `Reject`."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DataError], tuple[RejectReason, str]]:
        return DataError, (self.reason, self.detail)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_S, _B, _I32, _I64, _F32 = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float32()
_STRINGS = pa.list_(_S)
_TEXT_BY_LANGUAGE = pa.map_(_S, _S)
_PARAGRAPHS = pa.list_(pa.struct([("index", _I32), ("section", _S), ("text", _S)]))
_REFERENCES = pa.list_(pa.struct([("id", _S), ("pmid", _S), ("doi", _S), ("text", _S)]))
_GRAPHICS = pa.list_(pa.struct([("href", _S), ("file_name", _S), ("rendition", _S), ("part", _I32)]))
_MENTIONS = pa.list_(
    pa.struct([("paragraph_index", _I32), ("section", _S), ("text", _S), ("xref_text", _S), ("via", _S)])
)

REJECTS = _schema(source=_S, stage=_S, reason=_S, detail=_S)

# One row per member of an archive tar: where its bytes lie, so that one figure is read without the rest.
ARCHIVE_INDEX = _schema(article_id=_S, member=_S, kind=_S, offset=_I64, n_bytes=_I64, sha256=_S)

ARTICLES = _schema(
    article_id=_S, pmcid=_S, version=_I32, pmid=_S, doi=_S, title=_S, abstract=_S, journal=_S, publisher=_S,
    publication_date=_S, article_type=_S, language=_S, subjects=_STRINGS, keywords=_STRINGS, mesh_terms=_STRINGS,
    authors=_STRINGS, license_code=_S, license_group=_S, is_retracted=_B, is_manuscript=_B, citation=_S,
    paragraphs=_PARAGRAPHS, references=_REFERENCES, source_uri=_S, xml_sha256=_S, recovered=_B, warnings=_STRINGS,
)  # fmt: skip

FIGURES = _schema(
    article_id=_S, figure_id=_S, position=_I32, kind=_S, parent_figure_id=_S, group_id=_S, translation_of=_S, label=_S,
    title=_S, caption=_S, group_caption=_S, note=_S, captions_by_language=_TEXT_BY_LANGUAGE, alt_text=_S,
    attribution=_S, license_override=_S, redistributable=_B,
    graphics=_GRAPHICS, mentions=_MENTIONS, caption_mentions=_MENTIONS, sub_article_id=_S, warnings=_STRINGS,
)  # fmt: skip

FIGURE_IMAGES = _schema(
    article_id=_S, figure_id=_S, image_id=_S, part=_I32, file_name=_S, width=_I32, height=_I32, mode=_S, format=_S,
    n_bytes=_I64, sha256=_S, phash=_S,
)  # fmt: skip

IMAGE_CAPTION_PAIRS = _schema(
    key=_S, article_id=_S, figure_id=_S, image_id=_S, position=_I32, kind=_S, label=_S, caption=_S, mentions=_STRINGS,
    license_code=_S, license_group=_S, redistributable=_B, file_name=_S, format=_S, width=_I32, height=_I32, mode=_S,
    n_bytes=_I64, sha256=_S, phash=_S,
)  # fmt: skip

CLUSTER_ASSIGNMENTS = _schema(key=_S, cluster_id=_I32, distance=_F32, second_distance=_F32)

EXPERT_VOTES = _schema(expert=_S, keys=_STRINGS, question=_S, answers=_STRINGS)

IMAGE_LABELS = _schema(
    key=_S, cluster_id=_I32, distance=_F32, panel_type=_S, panel_subtype=_S, primary_labels=_STRINGS,
    secondary_labels=_STRINGS, confidence=_F32,
)  # fmt: skip

SHARD_INDEX = _schema(shard=_S, license_group=_S, split=_S, rows=_I64, n_bytes=_I64, sha256=_S)

DATASET_METADATA = _schema(
    key=_S, shard=_S, offset=_I64, n_bytes=_I64, split=_S, article_id=_S, pmcid=_S, pmid=_S, doi=_S, journal=_S,
    publication_date=_S, article_type=_S, language=_S, license_code=_S, license_group=_S, redistributable=_B,
    attribution=_S, kind=_S, label=_S, caption=_S, caption_length=_I32, n_mentions=_I32, image_name=_S, image_format=_S,
    image_mode=_S, width=_I32, height=_I32, image_bytes=_I64, sha256=_S, phash=_S, cluster_id=_I32, panel_type=_S,
    panel_subtype=_S, primary_label=_S, primary_labels=_STRINGS, secondary_labels=_STRINGS, label_confidence=_F32,
    n_panels=_I32, panel_score=_F32, parent_key=_S, panel_letter=_S, panel_box=pa.list_(_I32),
    checksum=_I64,  # CRC-32 of the n_bytes at offset
)  # fmt: skip

SCORES = _schema(
    model_id=_S, task=_S, metric=_S, value=pa.float64(), ci_low=pa.float64(), ci_high=pa.float64(), n=_I64, seed=_I64,
    dataset_digest=_S,
)  # fmt: skip


def embedding_schema(dimensions: int) -> pa.Schema:
    """Schema of `image_embeddings`: key and a float16 vector of `dimensions` numbers."""
    return pa.schema([("key", _S), ("embedding", pa.list_(pa.float16(), dimensions))])


def to_table(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Arrow table of mappings or dataclass instances, in the column order of `schema`.

    Args:
        rows: mappings, or objects whose attributes carry the column names.
        schema: the schema; a missing key becomes null.
    Raises:
        pyarrow.ArrowInvalid: when a value does not fit its column.
    """
    if rows and not isinstance(rows[0], dict):
        rows = [{name: getattr(row, name) for name in schema.names} for row in rows]
    return pa.Table.from_pylist(list(rows), schema=schema)
