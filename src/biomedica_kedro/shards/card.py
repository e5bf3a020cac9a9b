"""What is published beside the shards: the card (README), Croissant metadata, and the counts both are made from.

Layout of the published folder: `shards/*.tar`, `metadata/*.parquet` (one row a sample), `index/*.parquet` (one row a
shard), `articles/*.parquet` (compact profile), `README.md`, `croissant.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from biomedica_kedro.records import DATASET_METADATA, LicenseGroup, Options, Split
from biomedica_kedro.shards.fields import PUBLISHED_FIELDS
from biomedica_kedro.stages import BatchFolder

if TYPE_CHECKING:
    import pandas as pd

UNLABELED = "(unlabeled)"
LICENSES = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    **{f"CC {terms}": f"https://creativecommons.org/licenses/{terms.lower()}/4.0/" for terms in
       ("BY", "BY-SA", "BY-ND", "BY-NC", "BY-NC-SA", "BY-NC-ND")},
}  # fmt: skip

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"),
          (10**7, "1M<n<10M"), (10**8, "10M<n<100M"))  # fmt: skip


class CardOptions(Options):
    """What the card says of the data set.

    Attributes:
        title: shown as the heading.
        summary: one paragraph.
        url: where the data set is published.
        version: of the published data set.
    """

    title: str
    summary: str
    url: str
    version: str = "1.0.0"


def count_concepts(metadata: BatchFolder) -> pd.DataFrame:
    """Images per primary label and license group; an image with several labels counts for each."""
    table = metadata.table(columns=["primary_labels", "license_group"]).to_pandas()
    table["concept"] = [labels if len(labels) else [UNLABELED] for labels in table["primary_labels"]]
    counts = table.explode("concept").groupby(["concept", "license_group"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(LicenseGroup), fill_value=0)
    counts["total"] = counts.sum(axis=1)
    counts.columns = [str(column) for column in counts.columns]
    ordered: pd.DataFrame = counts.sort_values(["total", "concept"], ascending=[False, True]).reset_index()
    return ordered


def report_licenses(metadata: BatchFolder) -> pd.DataFrame:
    """Articles, images and bytes per license and split."""
    columns = ["license_group", "license_code", "split", "article_id", "image_bytes"]
    table = metadata.table(columns=columns).to_pandas()
    table["license_code"] = table["license_code"].fillna("(none)")
    groups = table.groupby(["license_group", "license_code", "split"])
    report: pd.DataFrame = groups.agg(
        articles=("article_id", "nunique"), images=("article_id", "size"), image_bytes=("image_bytes", "sum")
    ).reset_index()
    report["license_url"] = report["license_code"].map(LICENSES).fillna("")
    return report


def card_text(options: CardOptions, audit: Mapping[str, Any], licenses: pd.DataFrame, concepts: pd.DataFrame) -> str:
    """The README of the published data set: a YAML header for the hub, then text and tables.

    Args:
        options: title, summary, address.
        audit: `audit_summary`.
        licenses: from `report_licenses`.
        concepts: from `count_concepts`.
    """
    import yaml

    header = yaml.safe_dump(_header(options, audit, licenses), sort_keys=False, allow_unicode=True)
    by_group = licenses.groupby("license_group")[["articles", "images"]].sum().reset_index()
    excluded = [{"reason": reason, "images": count} for reason, count in audit["excluded"].items()]
    sections = [
        f"# {options.title}",
        options.summary,
        f"{audit['published']:,} images with captions in {audit['shards']:,} shards, {audit['bytes']:,} bytes. Every "
        "shard was read back: checksums, keys, records and images agree with the index.",
        "## How to read it",
        _HOW_TO.format(url=options.url),
        "## Licenses",
        "Each sample names the license of its article (`license_code`, `article_license`). The three subsets may be "
        "used alone.",
        _markdown(by_group),
        _markdown(licenses.drop(columns="image_bytes")),
        "## Concepts",
        "Labels were given to clusters of images by people and hold for the cluster, not for each image.",
        _markdown(concepts),
        "## What was left out",
        f"{sum(audit['excluded'].values()):,} of {audit['image_caption_pairs']:,} image-caption pairs are not published"
        f"; {audit['withdrawn']:,} samples still lie in a shard but are withdrawn: the metadata table lists them no "
        "more, and readers that go by it skip them.",
        _markdown_rows(excluded, ["reason", "images"]),
        "## Fields of a record",
        "The field names of the published BIOMEDICA data: " + ", ".join(f"`{name}`" for name in PUBLISHED_FIELDS) + ".",
        "## Columns of the metadata table",
        ", ".join(f"`{name}`" for name in DATASET_METADATA.names) + ".",
    ]
    return f"---\n{header}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def croissant(options: CardOptions, shard_index: pa.Table, licenses: pd.DataFrame) -> dict[str, Any]:
    """Croissant metadata (MLCommons): where the files lie, their checksums, and the columns.

    Args:
        options: title, summary, address.
        shard_index: a row a shard.
        licenses: from `report_licenses`.
    """
    import mlcroissant as mlc

    shards = [
        mlc.FileObject(
            id=row["shard"], name=row["shard"], content_url=f"shards/{row['shard']}", sha256=row["sha256"],
            content_size=f"{row['n_bytes']} B", encoding_formats=["application/x-tar"],
        )
        for row in shard_index.to_pylist()
    ]  # fmt: skip
    # The digest of a folder that changes is not known: Croissant's own placeholder for repositories.
    repository = mlc.FileObject(
        id="repository", name="repository", content_url=options.url, encoding_formats=["git+https"],
        sha256="https://github.com/mlcommons/croissant/issues/80",
    )  # fmt: skip
    table = mlc.FileSet(
        id="metadata", name="metadata", contained_in=["repository"], includes=["metadata/*.parquet"],
        encoding_formats=["application/x-parquet"],
    )  # fmt: skip
    fields = [
        mlc.Field(
            id=f"samples/{name}", name=name, data_types=[_croissant_type(mlc, field.type)],
            repeated=pa.types.is_list(field.type) or None,
            source=mlc.Source(file_set="metadata", extract=mlc.Extract(column=name)),
        )
        for name, field in zip(DATASET_METADATA.names, DATASET_METADATA, strict=True)
    ]  # fmt: skip
    metadata = mlc.Metadata(
        name=options.title, description=options.summary, url=options.url, version=options.version,
        license=sorted({url for url in licenses["license_url"] if url}), distribution=[repository, table, *shards],
        record_sets=[mlc.RecordSet(id="samples", name="samples", fields=fields)],
        cite_as="BIOMEDICA, arXiv:2501.07171",
    )  # fmt: skip
    described: dict[str, Any] = json.loads(json.dumps(metadata.to_json(), default=str))
    return described


_HOW_TO = """```python
from biomedica_kedro.shards.stream import stream

for sample in stream("{url}", where="primary_label = 'Microscopy' and license_group = 'commercial'", seed=1):
    sample.image, sample.caption, sample.record
```

The shards are WebDataset tars (`.jpg|.png|...`, `.txt`, `.json`): webdataset, HF datasets, open_clip and plain tar read
them too."""


def _header(options: CardOptions, audit: Mapping[str, Any], licenses: pd.DataFrame) -> dict[str, Any]:
    present = {(row.license_group, row.split) for row in licenses.itertuples()}
    size = next((name for limit, name in _SIZES if audit["published"] < limit), "100M<n<1B")
    return {
        "pretty_name": options.title,
        "license": "other",
        "license_name": "per-sample",
        "language": ["en"],
        "task_categories": ["zero-shot-image-classification", "image-to-text", "text-to-image"],
        "tags": ["biology", "medical", "webdataset", "pubmed-central"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": str(group),
                "data_files": [
                    {"split": str(split), "path": f"shards/biomedica-{group}-{split}-*.tar"}
                    for split in Split
                    if (group, split) in present
                ],
            }
            for group in LicenseGroup
            if any(group == other for other, _ in present)
        ],
    }


def _croissant_type(mlc: Any, column: pa.DataType) -> Any:
    value = column.value_type if pa.types.is_list(column) else column
    if pa.types.is_boolean(value):
        return mlc.DataType.BOOL
    if pa.types.is_integer(value):
        return mlc.DataType.INTEGER
    return mlc.DataType.FLOAT if pa.types.is_floating(value) else mlc.DataType.TEXT


def _markdown(frame: pd.DataFrame) -> str:
    return _markdown_rows(frame.to_dict("records"), list(frame.columns))


def _markdown_rows(rows: Sequence[Mapping[Any, Any]], columns: list[str]) -> str:
    if not rows:
        return ""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
