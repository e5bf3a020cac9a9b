"""The JSON record of a sample: the 25 fields of the published BIOMEDICA data, and ours.

Source: BIOMEDICA (arXiv 2501.07171) supplement, table of metadata fields; names and meanings are kept, so that code
written for the published data reads ours. Where the published meaning was an accident ours is beside it:
`image_cluster_id` is the image's file stem, `image_label_id` the cluster; `image_hash` is of the file's own bytes.

Every record of a profile has the same fields of the same Arrow types, whatever is known: what is not is an empty text,
an empty list, or -1, never null. So `image_context` is a list and not an object whose names differ from sample to
sample. In the metadata table, where columns are typed, what is not known is null.

A record is made of two parts: `article_part`, the same for all images of an article, and `image_part`. They are encoded
once each and joined as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from biomedica_kedro.pmc.identifiers import known_pmcid
from biomedica_kedro.shards.attribution import attribution_line

# 1: image members named by their format, nulls; 2: every image a .jpg member, typed fields without null
SCHEMA_VERSION = 2

PUBLISHED_FIELDS = (
    "image_file_name", "image_cluster_id", "image_hash", "image_label_id", "image_panel_type", "image_panel_subtype",
    "image_primary_label", "image_secondary_label", "image_size", "image_set", "image_context", "article_title",
    "article_journal", "article_date", "article_abstract", "article_mesh_terms", "article_keywords",
    "article_reference_ids", "article_reference_count", "article_reference_list", "article_subject", "article_citation",
    "article_license", "article_text", "article_accession_id",
)  # fmt: skip

# Once an article instead of once an image in the compact profile: nearly all bytes of a record.
LONG_FIELDS = ("image_set", "image_context", "article_abstract", "article_reference_ids", "article_reference_list",
               "article_text")  # fmt: skip

_S, _B, _I64, _F32 = pa.string(), pa.bool_(), pa.int64(), pa.float32()
_STRINGS = pa.list_(_S)

# What all images of an article share.
ARTICLE_FIELDS = pa.schema(
    {
        "image_set": pa.list_(pa.struct({"image_id": _S, "image_file_name": _S, "caption": _S})),
        "image_context": pa.list_(pa.struct({"image_id": _S, "mentions": _STRINGS})),
        "article_title": _S, "article_date": _S, "article_abstract": _S, "article_mesh_terms": _STRINGS,
        "article_keywords": _STRINGS, "article_reference_ids": _STRINGS, "article_reference_count": _I64,
        "article_reference_list": _STRINGS, "article_subject": _STRINGS, "article_citation": _S, "article_license": _S,
        "article_text": _S, "article_accession_id": _S,
    }
)  # fmt: skip

# One image, and what of its article is needed to filter.
IMAGE_FIELDS = pa.schema(
    {
        "schema_version": _I64, "image_file_name": _S, "image_cluster_id": _S, "image_hash": _S, "image_label_id": _S,
        "image_panel_type": _S, "image_panel_subtype": _S, "image_primary_label": _STRINGS,
        "image_secondary_label": _STRINGS, "image_size": pa.list_(_I64), "image_format": _S, "image_mode": _S,
        "width": _I64, "height": _I64, "image_bytes": _I64, "image_phash": _S, "image_source_hash": _S,
        "cluster_distance": _F32, "label_confidence": _F32, "figure_id": _S, "figure_label": _S, "figure_kind": _S,
        "figure_mentions": _STRINGS, "split": _S, "license_code": _S, "license_group": _S, "redistributable": _B,
        "attribution": _S, "article_id": _S, "article_pmid": _S, "article_doi": _S, "article_journal": _S,
        "article_type": _S, "article_language": _S, "publication_date": _S, "n_panels": _I64, "panel_score": _F32,
        "parent_key": _S, "panel_letter": _S, "panel_box": pa.list_(_I64),
    }
)  # fmt: skip

# Every text to train with: only in the training profile.
CAPTIONS = pa.field("captions", _STRINGS)

Row = Mapping[str, Any]


def article_part(article: Row, pairs: Sequence[Row]) -> dict[str, Any]:
    """Fields that all images of an article share.

    Args:
        article: a row of `articles`.
        pairs: the article's rows of `image_caption_pairs` that may be published.
    """
    references = article["references"] or []
    values = {
        "image_set": [
            {"image_id": _stem(pair), "image_file_name": pair["file_name"], "caption": pair["caption"]}
            for pair in pairs
        ],
        "image_context": [{"image_id": _stem(pair), "mentions": pair["mentions"]} for pair in pairs],
        "article_title": article["title"],
        "article_date": _unix_seconds(article["publication_date"]),
        "article_abstract": article["abstract"],
        "article_mesh_terms": article["mesh_terms"] or [],
        "article_keywords": article["keywords"] or [],
        "article_reference_ids": [reference["pmid"] or reference["doi"] or "" for reference in references],
        "article_reference_count": len(references),
        "article_reference_list": [reference["text"] for reference in references],
        "article_subject": article["subjects"] or [],
        "article_citation": article["citation"],
        "article_license": article["license_code"],
        "article_text": "\n".join(paragraph["text"] or "" for paragraph in article["paragraphs"] or []),
        "article_accession_id": known_pmcid(article["article_id"]),
    }
    return without_nulls(values, ARTICLE_FIELDS)


def image_part(pair: Row, article: Row, label: Row, split: str) -> dict[str, Any]:
    """Fields of one image, and what of its article is needed to filter.

    Args:
        pair: a row of `image_caption_pairs`, or a panel of one; see `panels.panels_of`.
        article: its row of `articles`.
        label: its row of `image_labels`, as far as it is labeled, and its `panels.panel_facts`, as far as looked for.
        split: "train", "validation" or "test".
    """
    cluster = label.get("cluster_id")
    values = {
        "schema_version": SCHEMA_VERSION,
        "image_file_name": pair["file_name"],
        "image_cluster_id": _stem(pair),
        "image_hash": pair["sha256"],
        "image_label_id": None if cluster is None else str(cluster),
        "image_panel_type": label.get("panel_type"),
        "image_panel_subtype": label.get("panel_subtype"),
        "image_primary_label": label.get("primary_labels") or [],
        "image_secondary_label": label.get("secondary_labels") or [],
        "image_size": [pair["width"], pair["height"]],
        "image_format": pair["format"],
        "image_mode": pair["mode"],
        "width": pair["width"],
        "height": pair["height"],
        "image_bytes": pair["n_bytes"],
        "image_phash": pair["phash"],
        "image_source_hash": pair["sha256"],
        "cluster_distance": label.get("distance"),
        "label_confidence": label.get("confidence"),
        "figure_id": pair["figure_id"],
        "figure_label": pair["label"],
        "figure_kind": pair["kind"],
        "figure_mentions": pair["mentions"] or [],
        "split": split,
        "license_code": pair["license_code"],
        "license_group": pair["license_group"],
        "redistributable": pair["redistributable"] is not False,
        "attribution": attribution_line(article, pair["license_code"]),
        "article_id": pair["article_id"],
        "article_pmid": article["pmid"],
        "article_doi": article["doi"],
        "article_journal": article["journal"],
        "article_type": article["article_type"],
        "article_language": article["language"],
        "publication_date": article["publication_date"],
        "n_panels": label.get("n_panels"),
        "panel_score": label.get("panel_score"),
        "parent_key": pair.get("parent_key"),
        "panel_letter": pair.get("panel_letter"),
        "panel_box": pair.get("panel_box"),
    }
    return without_nulls(values, IMAGE_FIELDS)


def metadata_row(record: Row, caption: str) -> dict[str, Any]:
    """A sample's row of `dataset_metadata`, without key and place, from the image part of its record."""
    primary = record["image_primary_label"]
    known = {name: None if value in ("", -1) else value for name, value in record.items()}
    return {
        "split": record["split"],
        "article_id": record["article_id"],
        "pmcid": known_pmcid(record["article_id"]),
        "pmid": known["article_pmid"],
        "doi": known["article_doi"],
        "journal": known["article_journal"],
        "publication_date": known["publication_date"],
        "article_type": known["article_type"],
        "language": known["article_language"],
        "license_code": known["license_code"],
        "license_group": record["license_group"],
        "redistributable": record["redistributable"],
        "attribution": record["attribution"],
        "kind": known["figure_kind"],
        "label": known["figure_label"],
        "caption": caption,
        "caption_length": len(caption),
        "n_mentions": len(record["figure_mentions"]),
        "image_name": record["image_file_name"],
        "image_format": record["image_format"],
        "image_mode": record["image_mode"],
        "width": record["width"],
        "height": record["height"],
        "image_bytes": record["image_bytes"],
        "sha256": record["image_hash"],
        "phash": known["image_phash"],
        "cluster_id": None if known["image_label_id"] is None else int(record["image_label_id"]),
        "panel_type": known["image_panel_type"],
        "panel_subtype": known["image_panel_subtype"],
        "primary_label": primary[0] if primary else None,
        "primary_labels": primary,
        "secondary_labels": record["image_secondary_label"],
        "label_confidence": known["label_confidence"],
        "n_panels": known["n_panels"],
        "panel_score": known["panel_score"],
        "parent_key": known["parent_key"],
        "panel_letter": known["panel_letter"],
        "panel_box": known["panel_box"] or None,
    }


def record_fields(names: Iterable[str]) -> pa.Schema:
    """Those of the fields a record may have that are named, with their types."""
    known = {field.name: field for field in (*IMAGE_FIELDS, CAPTIONS, *ARTICLE_FIELDS)}
    return pa.schema([known[name] for name in names if name in known])


def without_nulls(values: Row, schema: pa.Schema) -> dict[str, Any]:
    """Exactly the fields of a schema, in its order; what is not known as the module says."""
    return {field.name: _filled(values.get(field.name), field.type) for field in schema}


def caption_variants(pair: Row) -> list[str]:
    """Texts a model may be trained with: the caption, and each sentence of the article that mentions the figure."""
    return list(dict.fromkeys([pair["caption"], *(pair["mentions"] or [])]))


def _stem(pair: Row) -> str:
    return PurePosixPath(pair["file_name"]).stem


def _unix_seconds(date: str | None) -> str | None:
    """Seconds since 1970 in UTC, as text; dates may lack month or day."""
    parts = [int(part) for part in (date or "").split("-") if part.isdecimal()]
    if not parts:
        return None
    year, month, day = (*parts, 1, 1)[:3]
    try:
        return str(int(datetime(year, month, day, tzinfo=UTC).timestamp()))
    except ValueError:
        return None


def _filled(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_filled(each, kind.value_type) for each in value or ()]
    if pa.types.is_struct(kind):
        return {field.name: _filled((value or {}).get(field.name), field.type) for field in kind}
    if value is None or value != value:  # JSON has no NaN either
        return "" if pa.types.is_string(kind) else -1.0 if pa.types.is_floating(kind) else -1
    return value


def problems_of_record(record: Row, schema: pa.Schema) -> Iterator[str]:
    """Check a record against the schema of its profile.

    Args:
        record: a sample's JSON.
        schema: see `selection.record_schema`.
    Yields:
        One sentence a problem.
    """
    if record.get("schema_version") != SCHEMA_VERSION:
        yield f"schema_version is {record.get('schema_version')!r}, expected {SCHEMA_VERSION}"
    for field in schema:
        if field.name not in record:
            yield f"the record lacks {field.name}"
        elif not _is_of(record[field.name], field.type):
            yield f"{field.name} is {str(record[field.name])[:40]!r}, expected {field.type}"
    yield from (f"the record has a field {name} of its own" for name in record if name not in schema.names)


def _is_of(value: Any, kind: pa.DataType) -> bool:
    """Whether a JSON value is of an Arrow type, without null anywhere in it."""
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_is_of(each, kind.value_type) for each in value)
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        return isinstance(value, dict) and list(value) == names and all(_is_of(value[f.name], f.type) for f in kind)
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind) or isinstance(value, bool):
        return isinstance(value, bool) and pa.types.is_boolean(kind)
    return isinstance(value, float | int if pa.types.is_floating(kind) else int)
