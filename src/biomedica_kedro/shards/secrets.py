"""What may be told of a place: where it is and how it is asked, never what opens it.

Of the settings of a store those are told that are known to be harmless; of a URL neither user and password nor the
query, which holds the signature of a signed one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_HARMLESS = frozenset(
    {
        "endpoint", "endpoint_url", "aws_endpoint", "aws_endpoint_url", "region", "aws_region", "bucket", "revision",
        "skip_signature", "aws_skip_signature", "allow_http", "timeout", "connect_timeout", "read_timeout",
        "max_retries", "virtual_hosted_style_request",
    }
)  # fmt: skip
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"(://[^?\s]*)\?\S+")


def without_secrets(value: Any) -> Any:
    """A URL, a list of them, or the settings of a store, with `MASK` for what is not to be told."""
    if isinstance(value, Mapping):
        return {
            name: without_secrets(inner) if isinstance(inner, Mapping) or name.lower() in _HARMLESS else MASK
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    if isinstance(value, str):
        return _QUERY.sub(rf"\1?{MASK}", _USER.sub(f"{MASK}@", value))
    return value
