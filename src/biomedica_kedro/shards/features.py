"""Arrow schemas in the words of Hugging Face datasets, so that a reader declares columns instead of guessing them.

Source: `datasets.Features`, its YAML of dataset cards and its JSON in the metadata of Parquet files (version 4 and
later).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def card_features(schema: pa.Schema) -> list[dict[str, Any]]:
    """Columns as a card's YAML lists them."""
    return [{"name": field.name, **_of_card(field.type)} for field in schema]


def hub_features(schema: pa.Schema) -> dict[str, Any]:
    """Columns as the metadata of a Parquet file name them."""
    return {field.name: _of_file(field.type) for field in schema}


def _of_card(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"dtype": "image"}
    if pa.types.is_list(kind):
        value = _of_card(kind.value_type)
        return {"list": value.get("dtype", value.get("struct", value))}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_of_card(field.type)} for field in kind]}
    return {"dtype": _name(kind)}


def _of_file(kind: pa.DataType) -> Any:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _of_file(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _of_file(field.type) for field in kind}
    return {"dtype": _name(kind), "_type": "Value"}


def _name(kind: pa.DataType) -> str:
    """A plain type; Arrow prints float32 as "float"."""
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))
