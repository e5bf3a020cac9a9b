"""What makes two pieces of work the same: digests of inputs and options. Identity is *what*, never *how*.

Fields of options marked `HOW` (threads, workers, prefetch, checkpoint spacing, device, price) say how the work is done
and change nothing in its result: they do not enter the digest, so that a run that ended for want of memory goes on at
the same step with other settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

import orjson
import pyarrow as pa
from pydantic import BaseModel

from biomedica_kedro.records import HOW

_STABLE = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@runtime_checkable
class HasDigest(Protocol):
    """Anything that knows the digest of its own content."""

    def digest(self) -> str:
        """Hexadecimal digest of the content."""
        ...


@singledispatch
def digest_of(value: object) -> str:
    """Hexadecimal digest of an input of a stage.

    Args:
        value: an object with a `digest()`, an Arrow table, a data frame, a pydantic model, or JSON values.
    """
    if type(value).__name__ == "DataFrame":  # without importing pandas for those who have none
        return digest_of(pa.Table.from_pandas(value, preserve_index=True).replace_schema_metadata(None))
    if isinstance(value, HasDigest):  # which a frame with a column of this name seems to be
        return value.digest()
    return hashlib.sha256(orjson.dumps(value, default=_told, option=_STABLE)).hexdigest()


@digest_of.register
def _(value: BaseModel) -> str:
    return value.digest() if isinstance(value, HasDigest) else digest_of(what(value))


@digest_of.register
def _(value: pa.Table) -> str:
    # The values, not the buffers: equal tables may differ in chunks, offsets and validity bitmaps
    return digest_of({"schema": str(value.schema), "columns": value.to_pydict()})


def what(options: BaseModel) -> dict[str, Any]:
    """The fields of options that decide the result, nested models included; those marked `HOW` are left out."""
    fields = type(options).model_fields
    return {name: _what(getattr(options, name)) for name, field in fields.items() if HOW not in field.metadata}


def combined(parts: Mapping[str, Any]) -> str:
    """One digest over named parts, each given as a digest or a JSON value."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _what(value: object) -> object:
    if isinstance(value, BaseModel):
        return what(value)
    if isinstance(value, Mapping):
        return {str(key): _what(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_what(inner) for inner in value]
    return sorted(value, key=str) if isinstance(value, frozenset | set) else value


def _told(value: object) -> object:
    """A value that JSON does not know: a model, something with a digest, a lazily loaded part, or its text."""
    if isinstance(value, BaseModel | HasDigest | pa.Table) or type(value).__name__ == "DataFrame":
        return digest_of(value)
    if isinstance(value, Mapping):
        return dict(value)
    return digest_of(value()) if callable(value) else str(value)
