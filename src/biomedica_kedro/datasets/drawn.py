"""Folders that are drawn, wherever they lie: in place, or in scratch and from there copied to an object store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from biomedica_kedro.stages.files import put
from biomedica_kedro.stages.place import Place, read_files, scratch_root

logger = logging.getLogger(__name__)

_AT_ONCE = 32


def draw(write: Callable[[Path], object], folder: Place, marker: str) -> None:
    """Have a folder drawn where it is absent, unfinished or of other code.

    Args:
        write: draws into a local folder, unless what it would draw lies there.
        folder: where it shall be.
        marker: name of the file, written last, that says what the folder was drawn from.
    """
    if isinstance(folder, Path):
        write(folder)
        return
    here = scratch_root() / "drawn" / hashlib.sha256(str(folder).encode()).hexdigest()[:16] / folder.name
    here.parent.mkdir(parents=True, exist_ok=True)
    write(here)
    (there,) = read_files([folder / marker])
    if there == (here / marker).read_bytes():
        return
    if there is not None:  # of another drawing: what this one does not overwrite must not stay
        folder.fs.rm(folder.path, recursive=True)
    files = [path for path in here.rglob("*") if path.is_file() and path != here / marker]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda path: put(path, folder / path.relative_to(here).as_posix()), files))
    put(here / marker, folder / marker)
    logger.info("Copied %d drawn files to %s", len(files), folder)
