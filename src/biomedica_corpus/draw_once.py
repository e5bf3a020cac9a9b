"""A folder that is drawn once, all of it or nothing: whenever the drawing is killed, and however many start at once.

It is drawn beside its place, in `.<name>.unfinished`, and put there by a rename; a folder it replaces waits as
`.<name>.replaced` until then. A marker file, written last, says what the folder was drawn from.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


def draw_once(
    folder: Path, marker: str, origin: Mapping[str, object], draw: Callable[[Path], Mapping[str, object]]
) -> bool:
    """Draw a folder unless it was drawn from the same origin before; a second process waits for the first.

    Args:
        folder: absent, empty, or drawn before, then it is replaced.
        marker: name of the JSON file in the folder that tells it from anybody else's.
        origin: options and code that the folder is drawn from: JSON values.
        draw: fills an empty folder; returns what the marker shall say besides.
    Returns:
        Whether it was drawn now.
    Raises:
        FileExistsError: when the folder holds something that was not drawn.
    """
    folder = folder.resolve()  # of a link, the folder behind it is replaced
    unfinished, replaced = (folder.with_name(f".{folder.name}.{state}") for state in ("unfinished", "replaced"))
    if _says(folder / marker, origin) and not (unfinished.exists() or replaced.exists()):
        return False
    with _no_other_drawing(folder):
        for leftover in (unfinished, replaced):
            if leftover.exists():
                shutil.rmtree(leftover)
        if _says(folder / marker, origin):
            return False
        _refuse_what_was_not_drawn(folder, marker)
        unfinished.mkdir()
        content = {**origin, **draw(unfinished)}
        (unfinished / marker).write_bytes(
            orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        )
        if folder.exists():
            folder.rename(replaced)
        unfinished.rename(folder)
        if replaced.exists():
            shutil.rmtree(replaced)
    return True


def code_digest(package: Path) -> str:
    """Digest of the sources in a package's folder: other code may draw other bytes."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.glob("*.py")))).hexdigest()


@contextmanager
def _no_other_drawing(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system gives back when its holder is killed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.info("Waiting for another process that draws %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _says(marker: Path, origin: Mapping[str, object]) -> bool:
    """Whether a marker is whole and names this origin."""
    try:
        content = orjson.loads(marker.read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return False
    return isinstance(content, dict) and origin.items() <= content.items()


def _refuse_what_was_not_drawn(folder: Path, marker: str) -> None:
    if (folder / marker).is_file() or not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give the name of a folder to draw into")
    if any(path.name != ".gitkeep" and not path.is_dir() for path in folder.rglob("*")):
        raise FileExistsError(f"{folder} holds files but no {marker}: give an empty folder, or delete it")
