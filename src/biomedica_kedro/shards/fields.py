"""The JSON record of a sample: the 25 fields of the published BIOMEDICA data, and ours.

Source: BIOMEDICA (arXiv 2501.07171) supplement, table of metadata fields; names and meanings are kept, so that code
written for the published data reads ours. Where the published meaning was an accident ours is beside it:
`image_cluster_id` is the image's file stem, `image_label_id` the cluster; `image_hash` is of the file's own bytes.

A record is made of two parts: `article_part`, the same for all images of an article, and `image_part`. They are encoded
once each and joined as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from biomedica_kedro.pmc.identifiers import pmcid_of

SCHEMA_VERSION = 1

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

Row = Mapping[str, Any]


def article_part(article: Row, pairs: Sequence[Row]) -> dict[str, Any]:
    """Fields that all images of an article share.

    Args:
        article: a row of `articles`.
        pairs: the article's rows of `image_caption_pairs` that may be published.
    """
    references = article["references"] or []
    return {
        "image_set": [
            {"image_id": _stem(pair), "image_file_name": pair["file_name"], "caption": pair["caption"]}
            for pair in pairs
        ],
        "image_context": {_stem(pair): pair["mentions"] or [] for pair in pairs},
        "article_title": article["title"],
        "article_journal": article["journal"],
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
        "article_accession_id": pmcid_of(article["article_id"]),
    }


def image_part(pair: Row, article: Row, label: Row, split: str) -> dict[str, Any]:
    """Fields of one image, and what of its article is needed to filter.

    Args:
        pair: a row of `image_caption_pairs`.
        article: its row of `articles`.
        label: its row of `image_labels`; empty when the image is not labelled.
        split: "train", "validation" or "test".
    """
    cluster = label.get("cluster_id")
    return {
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
        "image_bytes": pair["n_bytes"],
        "image_phash": pair["phash"],
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
        "article_id": pair["article_id"],
        "article_pmid": article["pmid"],
        "article_doi": article["doi"],
        "article_journal": article["journal"],
        "article_type": article["article_type"],
        "article_language": article["language"],
        "publication_date": article["publication_date"],
    }


def metadata_row(record: Row, caption: str) -> dict[str, Any]:
    """A sample's row of `dataset_metadata`, without key and place, from the image part of its record."""
    primary = record["image_primary_label"]
    cluster = record["image_label_id"]
    return {
        "split": record["split"],
        "article_id": record["article_id"],
        "pmcid": pmcid_of(record["article_id"]),
        "pmid": record["article_pmid"],
        "doi": record["article_doi"],
        "journal": record["article_journal"],
        "publication_date": record["publication_date"],
        "article_type": record["article_type"],
        "language": record["article_language"],
        "license_code": record["license_code"],
        "license_group": record["license_group"],
        "redistributable": record["redistributable"],
        "kind": record["figure_kind"],
        "label": record["figure_label"],
        "caption": caption,
        "caption_length": len(caption),
        "n_mentions": len(record["figure_mentions"]),
        "image_name": record["image_file_name"],
        "image_format": record["image_format"],
        "width": record["image_size"][0],
        "height": record["image_size"][1],
        "image_bytes": record["image_bytes"],
        "sha256": record["image_hash"],
        "phash": record["image_phash"],
        "cluster_id": None if cluster is None else int(cluster),
        "panel_type": record["image_panel_type"],
        "panel_subtype": record["image_panel_subtype"],
        "primary_label": primary[0] if primary else None,
        "primary_labels": primary,
        "secondary_labels": record["image_secondary_label"],
        "label_confidence": record["label_confidence"],
    }


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


_TEXT = (str, type(None))
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("image_file_name", "image_cluster_id", "image_hash", "article_accession_id"), str),
    **dict.fromkeys(("image_label_id", "image_panel_type", "image_panel_subtype"), _TEXT),
    **dict.fromkeys(("article_title", "article_journal", "article_date", "article_abstract"), _TEXT),
    **dict.fromkeys(("article_citation", "article_license", "article_text"), _TEXT),
    **dict.fromkeys(("image_primary_label", "image_secondary_label", "image_size", "image_set"), list),
    **dict.fromkeys(("article_mesh_terms", "article_keywords", "article_subject"), list),
    **dict.fromkeys(("article_reference_ids", "article_reference_list"), list),
    "image_context": dict,
    "article_reference_count": int,
}


def problems_of_record(record: Row, required: Iterable[str]) -> Iterator[str]:
    """Check a record against the schema.

    Args:
        record: a sample's JSON.
        required: the published fields it must hold.
    Yields:
        One sentence a problem.
    """
    if record.get("schema_version") != SCHEMA_VERSION:
        yield f"schema_version is {record.get('schema_version')!r}, expected {SCHEMA_VERSION}"
    for name in required:
        if name not in record:
            yield f"the record lacks {name}"
        elif not isinstance(record[name], _TYPES[name]):
            yield f"{name} is of type {type(record[name]).__name__}"
