"""Where files lie: a folder, or a URL of an object store; the rest of the project does not ask which.

A local place is a `pathlib.Path`, any other a `UPath` with the same methods, served by `object_stores`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

import fsspec
from upath import UPath

Place: TypeAlias = Path | UPath

_BYTES_AT_ONCE = 16 << 20
_AT_ONCE = 32  # requests in flight when many small files are read
_contents: dict[str, tuple[str, bytes]] = {}  # small files that were read from a store, by URL, with their tags
_OBSTORE = {"s3": "S3", "gs": "GoogleStorage", "az": "AzureStorage"}

for _protocol, _name in _OBSTORE.items():  # by name, so that obstore is imported where it is needed, in any process
    fsspec.register_implementation(_protocol, f"biomedica_kedro.stages.object_stores.{_name}", clobber=True)


class Entry(NamedTuple):
    """What a folder lists of one of its entries: a file's size in bytes, None for a folder."""

    name: str
    n_bytes: int | None


class Listed(NamedTuple):
    """What a store lists of a file: its size in bytes, and the tag that changes when its content does, if any."""

    n_bytes: int
    tag: str | None


class NotLocalError(Exception):
    """Something needs a folder and was given a URL."""


def place(address: str | os.PathLike[str] | UPath) -> Place:
    """The place that a folder's path or a URL names.

    Args:
        address: "data/02_intermediate/articles", "s3://bucket/root/articles", "memory://root".
    """
    if isinstance(address, UPath):
        return address
    text = os.fspath(address)
    protocol, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if protocol == "file":
        return Path(rest)
    return UPath(text)


def local(path: Place, purpose: str) -> Path:
    """A place as a path of this machine, for what object stores cannot do.

    Raises:
        NotLocalError: when it lies in an object store; names the purpose.
    """
    if isinstance(path, Path):
        return path
    raise NotLocalError(f"{path} lies in an object store: {purpose} needs a folder; mount the store or copy the data")


def scratch_root() -> Path:
    """Local folder for unfinished work on data that lie in an object store; BIOMEDICA_SCRATCH names another."""
    folder = Path(os.environ.get("BIOMEDICA_SCRATCH") or Path(tempfile.gettempdir(), "biomedica-scratch"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def entries(folder: Place) -> list[Entry]:
    """What lies in a folder, in one request of an object store a thousand entries; nothing when there is no folder."""
    if isinstance(folder, Path):
        try:
            with os.scandir(folder) as found:
                return [Entry(entry.name, None if entry.is_dir() else entry.stat().st_size) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return []
    try:
        listed = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return []
    return [
        Entry(PurePosixPath(one["name"]).name, one["size"] if one["type"] == "file" else None)
        for one in listed
        if one["name"].strip("/") != folder.path.strip("/")
    ]


def files_below(folder: UPath) -> dict[str, Listed]:
    """The files in a folder of a store and below it, by their names within it: one request a thousand files."""
    root = folder.path.strip("/")
    found = folder.fs.find(folder.path, detail=True)
    return {
        name.strip("/").removeprefix(f"{root}/"): Listed(one["size"], one.get("e_tag")) for name, one in found.items()
    }


def read_files(paths: Sequence[Place]) -> list[bytes | None]:
    """The bytes of small files, many at a time from an object store; None for each that is not there."""
    if not any(isinstance(path, UPath) for path in paths):
        return [_read_if_there(path) for path in paths]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_read_if_there, paths))


def read_listed(folder: UPath, files: Mapping[str, Listed]) -> list[bytes | None]:
    """The bytes of small files of a store that were listed; what has the tag it had is not fetched again."""
    url = str(folder)
    known = {name: _contents.get(f"{url}/{name}", (None, b"")) for name in files}
    wanted = [name for name, one in files.items() if one.tag is None or known[name][0] != one.tag]
    fetched = dict(zip(wanted, read_files([folder / name for name in wanted]), strict=True))
    for name, content in fetched.items():
        tag = files[name].tag
        if content is not None and tag is not None:
            _contents[f"{url}/{name}"] = tag, content
    return [fetched[name] if name in fetched else known[name][1] for name in files]


def read_file(path: Place) -> bytes:
    """The bytes of a file.

    Raises:
        FileNotFoundError: when it is not there.
    """
    if isinstance(path, Path):
        return path.read_bytes()
    content: bytes = path.fs.cat_file(path.path)
    return content


def local_copy(path: Place) -> Path:
    """A file as one of this machine: itself, or a copy in scratch that is fetched again only when the file has changed.

    For readers that take nothing but a path: weights, samples of the benchmark.

    Raises:
        FileNotFoundError: when it is not there.
    """
    if isinstance(path, Path):
        return path
    facts = path.fs.info(path.path)
    version = [str(facts.get(name)) for name in ("size", "e_tag", "last_modified", "created")]
    folder = scratch_root() / "copies" / hashlib.sha256(str(path.parent).encode()).hexdigest()[:16]
    copy = folder / hashlib.sha256("|".join(version).encode()).hexdigest()[:16] / path.name
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        unfinished = copy.with_name(f".{copy.name}.{os.getpid()}")
        _fetch(path, unfinished)
        unfinished.replace(copy)
    return copy


@contextmanager
def as_local(path: Place) -> Iterator[Path]:
    """A file as one of this machine for as long as the block lasts: for large files that are read once."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(dir=scratch_root()) as folder:
        _fetch(path, Path(folder, path.name))
        yield Path(folder, path.name)


def _fetch(path: UPath, target: Path) -> None:
    with path.open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _BYTES_AT_ONCE)


def _read_if_there(path: Place) -> bytes | None:
    try:
        return read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
