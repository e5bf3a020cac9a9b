"""Whole shards kept on a local disk up to a number of bytes, the least recently used given up first.

Shared by all workers and runs that name the same folder. A shard is known by its URL: clear the folder when shards are
written again under the same names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

_SUFFIX = ".shard"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class DiskCache:
    """Where shards are kept.

    Attributes:
        folder: on a local disk.
        max_bytes: most bytes kept; each reader may add the shard it is fetching for the moment.
    """

    folder: str
    max_bytes: int

    def open(self, url: str, fetch: Callable[[BinaryIO], None]) -> BinaryIO:
        """A shard as a local file.

        Args:
            url: of the shard.
            fetch: writes it to a file; what it raises is raised, and leaves nothing.
        """
        path = Path(self.folder) / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}{_SUFFIX}"
        with _lock_of(str(path)):
            for _ in range(_TRIES):
                with contextlib.suppress(FileNotFoundError):
                    file = cast(BinaryIO, path.open("rb", buffering=0))
                    os.utime(path)
                    return file
                self._add(path, fetch)
            raise OSError(f"the cache in {self.folder} loses shards as they are added: raise its size")

    def _add(self, path: Path, fetch: Callable[[BinaryIO], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as temporary:
            try:
                fetch(cast(BinaryIO, temporary))
                temporary.flush()
                Path(temporary.name).replace(path)
            finally:  # nothing is left under this name when it took the shard's
                Path(temporary.name).unlink(missing_ok=True)
        self._give_up(path)

    def _give_up(self, newest: Path) -> None:
        """Remove what was used least recently; who has it open reads on."""
        found = []
        for path in Path(self.folder).glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total > self.max_bytes and path != newest:
                path.unlink(missing_ok=True)
                total -= size


@cache
def _lock_of(_: str) -> threading.Lock:
    return threading.Lock()
