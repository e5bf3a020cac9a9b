"""The YAML at the head of a card: what `datasets.load_dataset(folder, name)` loads, with its columns declared.

Hugging Face datasets reads all configurations of a folder with the reader of the first one. With Parquet written, all
are Parquet: the subsets with their images, and `metadata` for the table; without, they are the WebDataset shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from biomedica_kedro.records import DATASET_METADATA, Split
from biomedica_kedro.shards.embedded import embedded_schema
from biomedica_kedro.shards.features import IMAGE, card_features
from biomedica_kedro.shards.publication import folder_of, subset_of_file
from biomedica_kedro.shards.samples import IMAGE as IMAGE_MEMBER
from biomedica_kedro.shards.selection import Subset

METADATA = "metadata"


def configurations(shard_index: pa.Table, record: pa.Schema, *, has_parquet: bool) -> dict[str, Any]:
    """`configs` and `dataset_info`: a configuration a subset, its splits, and the type of every column.

    Args:
        shard_index: a row a shard.
        record: fields of a record; see `selection.record_schema`.
        has_parquet: whether the samples lie as Parquet, too.
    """
    subsets = {subset: _splits(shard_index, subset) for subset in Subset}
    subsets = {subset: splits for subset, splits in subsets.items() if splits}
    kind, suffix = ("parquet", "parquet") if has_parquet else ("shards", "tar")
    configs: list[dict[str, Any]] = [
        {"config_name": str(subset), "data_files": _files(folder_of(subset, kind), subset, splits, suffix)}
        for subset, splits in subsets.items()
    ]
    configs[0]["default"] = True
    columns = embedded_schema(record) if has_parquet else _webdataset_schema(record)
    infos = [{"config_name": str(subset), "features": card_features(columns)} for subset in subsets]
    if has_parquet:
        configs.append({"config_name": METADATA, "data_files": _metadata_files(subsets)})
        infos.append({"config_name": METADATA, "features": card_features(DATASET_METADATA)})
    return {"configs": configs, "dataset_info": infos}


def _webdataset_schema(record: pa.Schema) -> pa.Schema:
    return pa.schema(
        {
            IMAGE_MEMBER: IMAGE, "txt": pa.string(), "json": pa.struct(list(record)), "__key__": pa.string(),
            "__url__": pa.string(),
        }
    )  # fmt: skip


def _splits(shard_index: pa.Table, subset: Subset) -> list[Split]:
    present = {row["split"] for row in shard_index.to_pylist() if subset_of_file(row["shard"]) is subset}
    return [split for split in Split if split in present]


def _files(folder: str, subset: Subset, splits: Sequence[Split], suffix: str) -> list[dict[str, str]]:
    return [{"split": str(split), "path": f"{folder}/biomedica-{subset}-{split}-*.{suffix}"} for split in splits]


def _metadata_files(subsets: Mapping[Subset, Sequence[Split]]) -> list[dict[str, Any]]:
    paths: dict[Split, list[str]] = {}
    for subset, splits in subsets.items():
        for split in splits:
            paths.setdefault(split, []).append(f"{folder_of(subset, METADATA)}/biomedica-{subset}-{split}-*.parquet")
    return [{"split": str(split), "path": paths[split]} for split in Split if split in paths]
