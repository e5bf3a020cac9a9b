"""The layer of a data set, as kedro-viz shows it, is the folder it lies in: said once.

The number stays in the name: kedro-viz sorts by name the layers that a pipeline does not order by itself.
"""

from __future__ import annotations

import re
from typing import Any

_LAYER = re.compile(r"/(\d\d_\w+)/")


def with_layer(filepath: str, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Metadata for kedro-viz with the layer: `02_intermediate` of "data/02_intermediate/articles"."""
    found = _LAYER.search(f"/{filepath}/")
    stated = dict((metadata or {}).get("kedro-viz", {}))
    return {**(metadata or {}), "kedro-viz": {"layer": found[1] if found else None, **stated}}
