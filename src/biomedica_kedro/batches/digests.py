"""Digests of what a batch is computed from: equal digests mean equal inputs, so the work need not be done again."""

from __future__ import annotations

import hashlib
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

import orjson
import pyarrow as pa
from pydantic import BaseModel

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
        value: an object with a `digest()`, an Arrow table, a pydantic model, or JSON values.
    Raises:
        TypeError: when the value has no defined digest.
    """
    if isinstance(value, HasDigest):
        return value.digest()
    return hashlib.sha256(orjson.dumps(value, default=str, option=_STABLE)).hexdigest()


@digest_of.register
def _(value: BaseModel) -> str:
    return digest_of(value.model_dump(mode="json"))


@digest_of.register
def _(value: pa.Table) -> str:
    # The values, not the buffers: equal tables may differ in chunks, offsets and validity bitmaps
    return digest_of({"schema": str(value.schema), "columns": value.to_pydict()})


def combined(parts: dict[str, Any]) -> str:
    """One digest over named parts, each given as a digest or a JSON value."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
