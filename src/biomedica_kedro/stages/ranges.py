"""Parts of files: from a disk one by one, from an object store many in one call."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeAlias

from upath import UPath

from biomedica_kedro.stages.place import Place

Range: TypeAlias = tuple[Place, int, int]
"""File, first byte, number of bytes."""

_OPEN_FILES = 256


class RangeReader:
    """Reads parts of files of one store or disk; keeps a bounded number of local files open."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of each range.

        Raises:
            FileNotFoundError: when one of the files is not there.
            OSError: when a file ends before its range.
        """
        contents = _fetched(ranges) or [self._pread(Path(str(path)), start, n) for path, start, n in ranges]
        for (path, start, n_bytes), content in zip(ranges, contents, strict=True):
            if len(content) != n_bytes:
                raise OSError(f"{path} ends before byte {start + n_bytes}: run the stage that makes it again")
        return contents

    def _pread(self, path: Path, start: int, n_bytes: int) -> bytes:
        descriptor = self._open.pop(path, None)
        if descriptor is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            descriptor = os.open(path, os.O_RDONLY)
        self._open[path] = descriptor
        return os.pread(descriptor, n_bytes, start)

    def close(self) -> None:
        """Close the local files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fetched(ranges: Sequence[Range]) -> list[bytes]:
    """The ranges of an object store; none when the files are local."""
    if not ranges or not isinstance(ranges[0][0], UPath):
        return []
    asked = [(path.path, start, start + n) for path, start, n in ranges if n and isinstance(path, UPath)]
    paths, starts, ends = ([one[part] for one in asked] for part in range(3))
    found = iter(ranges[0][0].fs.cat_ranges(paths, starts, ends, on_error="raise") if asked else ())
    return [next(found) if n_bytes else b"" for _, _, n_bytes in ranges]
