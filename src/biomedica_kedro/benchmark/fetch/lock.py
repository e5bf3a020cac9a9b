"""What a first download found, so that a later one gets the same: fetch.lock.json beside the downloads.

    {"https://...": {"checksum": "sha256:...", "bytes": 123}, "hub:owner/name": {"revision": "..."}}

Made to be kept under version control; a line that is removed is found anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from biomedica_kedro.benchmark.fetch.sources import SourceError
from biomedica_kedro.stages.files import write_json

NAME = "fetch.lock.json"


class Lock:
    """The pins of one folder of downloads."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: of the downloads; it need not exist."""
        self.path = folder / NAME
        self._pins: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            try:
                self._pins = dict(orjson.loads(self.path.read_bytes()))
            except (orjson.JSONDecodeError, ValueError, TypeError) as error:
                raise SourceError(
                    f"{self.path} is not readable: {error}; restore it, or remove it to pin anew"
                ) from error

    def pinned(self, key: str, what: str) -> str:
        """What is pinned of a file or repository; empty when nothing is."""
        return str(self._pins.get(key, {}).get(what, ""))

    def pin(self, key: str, **facts: Any) -> None:
        """Record what was found, at once: an interrupted fetch keeps what it learned."""
        self._pins[key] = {**self._pins.get(key, {}), **facts}
        write_json(self.path, self._pins)
