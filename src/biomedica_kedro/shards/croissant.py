"""Croissant metadata (MLCommons) of the published folder: its files, their checksums, and the columns of its table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from biomedica_kedro.records import DATASET_METADATA
from biomedica_kedro.shards.card import Facts
from biomedica_kedro.shards.publication import folder_of, subset_of_file

if TYPE_CHECKING:
    import pandas as pd


def croissant(facts: Facts, shard_index: pa.Table, licenses: pd.DataFrame) -> dict[str, Any]:
    """Croissant metadata (MLCommons): where the files lie, their checksums, and the columns.

    Args:
        facts: title, summary, address.
        shard_index: a row a shard.
        licenses: from `report_licenses`.
    """
    import mlcroissant as mlc

    shards = [
        mlc.FileObject(
            id=row["shard"], name=row["shard"], sha256=row["sha256"], content_size=f"{row['n_bytes']} B",
            content_url=f"{folder_of(subset_of_file(row['shard']), 'shards')}/{row['shard']}",
            encoding_formats=["application/x-tar"],
        )
        for row in shard_index.to_pylist()
    ]  # fmt: skip
    # Without a container the files are looked for beside the description, wherever the folder was copied to.
    folders = sorted({folder_of(subset_of_file(row["shard"]), "metadata") for row in shard_index.to_pylist()})
    table = mlc.FileSet(
        id="metadata", name="metadata", includes=[f"{folder}/*.parquet" for folder in folders],
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
        name=facts.title, description=facts.summary, url=facts.url, version=facts.version,
        license=sorted({url for url in licenses["license_url"] if url}), distribution=[table, *shards],
        record_sets=[mlc.RecordSet(id="samples", name="samples", fields=fields)],
        cite_as="BIOMEDICA, arXiv:2501.07171",
    )  # fmt: skip
    described: dict[str, Any] = json.loads(json.dumps(metadata.to_json(), default=str))
    return described


def _croissant_type(mlc: Any, column: pa.DataType) -> Any:
    value = column.value_type if pa.types.is_list(column) else column
    if pa.types.is_boolean(value):
        return mlc.DataType.BOOL
    if pa.types.is_integer(value):
        return mlc.DataType.INTEGER
    return mlc.DataType.FLOAT if pa.types.is_floating(value) else mlc.DataType.TEXT
