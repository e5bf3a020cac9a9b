"""Files under any URL of fsspec that are seen whole or not at all, and publishing a folder of them.

On a local or mounted disk a file is renamed when it is complete. On an object store it is an upload that is committed
at its end: fsspec's transaction. (fsspec's transaction for local files is not used: it copies from another disk.)
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from biomedica_kedro.stages.files import atomic_file

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"


@contextmanager
def atomic_target(url: str) -> Iterator[BinaryIO]:
    """Open a binary file for writing that appears under `url` only when it is complete.

    Raises:
        OSError: when the target cannot be written; what was there is then as it was.
    """
    system, path = url_to_fs(url)
    if isinstance(system, LocalFileSystem):
        with atomic_file(Path(path)) as file:
            yield file
        return
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    with system.transaction, system.open(path, "wb") as remote:
        yield cast(BinaryIO, remote)


def publish(root: Path, url: str, checksums: Mapping[str, str]) -> int:
    """Copy files to a URL: new and changed ones, in the order given; the list of their checksums last.

    A killed copy leaves whole files and is done again by the next one; files that are no longer published stay.

    Args:
        root: folder the files lie in.
        url: folder to copy to.
        checksums: sha256 of each file, by its path below `root`.
    Returns:
        How many files were copied.
    """
    target = url.rstrip("/")
    known = known_checksums(target)
    stale = [name for name, sha256 in checksums.items() if known.get(name) != sha256]
    for name in stale:
        with (root / name).open("rb") as source, atomic_target(f"{target}/{name}") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    if stale:
        with atomic_target(f"{target}/{CHECKSUMS}") as file:
            file.write(json.dumps(dict(checksums), indent=1).encode())
    logger.info("copied %d of %d files to %s", len(stale), len(checksums), target)
    return len(stale)


def known_checksums(url: str) -> dict[str, str]:
    """sha256 of what was published to a URL before, by path; empty when nothing was."""
    system, path = url_to_fs(f"{url.rstrip('/')}/{CHECKSUMS}")
    if not system.exists(path):
        return {}
    known: dict[str, str] = json.loads(system.cat_file(path))
    return known
