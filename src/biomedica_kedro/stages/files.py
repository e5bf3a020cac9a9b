"""Files on a disk or in an object store: a reader sees the whole file or none, whenever the writer is killed.

On a disk a file is written beside its place, flushed and renamed. In an object store it is written to scratch and put
whole: there is no rename worth the name.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

import orjson

from biomedica_kedro.stages.place import Place, scratch_root

TEMPORARY_SUFFIX = ".tmp"
_WRITER = re.compile(rf".*\.(?P<process>\d+)@(?P<host>[^@]+){re.escape(TEMPORARY_SUFFIX)}")
_SECONDS_UNTIL_FORGOTTEN = 24 * 3600
_END_OF_PARQUET = 8  # length of the footer, and the magic number


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and sha256 of one committed file, and the checksum of a Parquet file's footer: its pages have theirs."""

    n_bytes: int
    sha256: str
    footer: int | None = None

    @classmethod
    def of(cls, path: Place) -> FileRecord:
        """The record of a file that is whole."""
        return cls(path.stat().st_size, sha256_of(path), footer_checksum(path))


@contextmanager
def atomic_path(path: Place) -> Iterator[Path]:
    """Give a temporary local path; on success it becomes `path`, on failure it is removed.

    Raises:
        OSError: when the disk is full or the folder cannot be written; `path` is then as it was.
    """
    if not isinstance(path, Path):
        with TemporaryDirectory(dir=scratch_root()) as folder:
            temporary = Path(folder, path.name)
            yield temporary
            put(temporary, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{writer_name()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def writer_name() -> str:
    """This process among all that write to a disk: machines, and containers above all, have numbers in common."""
    return f"{os.getpid()}@{socket.gethostname()}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `atomic_path` in a folder whose writer is no more.

    A process of another machine is taken to be so after a day in which it wrote nothing.
    """
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        writer = _WRITER.fullmatch(path.name)
        if writer is not None and _is_gone(path, int(writer["process"]), writer["host"]):
            path.unlink(missing_ok=True)


def _is_gone(path: Path, process: int, host: str) -> bool:
    if host == socket.gethostname():
        return not _is_running(process)
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _SECONDS_UNTIL_FORGOTTEN
    return False


def remove_unnamed_leftovers(folder: Path) -> None:
    """Remove temporary files of libraries in Rust (safetensors, Lance) below a folder that nobody else writes to."""
    for path in folder.rglob(".tmp" + "?" * 6):
        path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's, or no number of a process
        pass
    return True


def put(source: Path, path: Place) -> None:
    """Copy a whole file of this machine to its place, atomically."""
    if isinstance(path, Path):
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
    else:
        path.fs.put_file(str(source), path.path)


def remove(path: Place) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        if isinstance(path, Path):
            path.unlink()
        else:
            path.fs.rm_file(path.path)


@contextmanager
def atomic_file(path: Place) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only when it is complete."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name: it takes no room twice where the file system has links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_json(path: Place, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    content = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    if not isinstance(path, Path):
        path.fs.pipe_file(path.path, content)
        return
    with atomic_file(path) as file:
        file.write(content)


def sha256_of(path: Place) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()


def footer_checksum(path: Place) -> int | None:
    """CRC-32 of a Parquet file's footer, which says what the columns are and where; None when there is none."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_OF_PARQUET))
        end = file.read()
        length = int.from_bytes(end[:4], "little") if end[4:] == b"PAR1" else size
        if length + _END_OF_PARQUET > size:
            return None
        file.seek(size - _END_OF_PARQUET - length)
        return zlib.crc32(file.read(length + _END_OF_PARQUET))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
