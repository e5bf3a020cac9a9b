"""Read tar and zip packages that may be damaged or hostile: nothing is ever extracted, only named bytes come out.

Refused as a whole: members that would leave the package (`..`, absolute paths), links and devices, and archives that
grow beyond a size or a ratio. Gzip streams are read to their end, since tarfile stops before the checksum that tells
whether the download was whole.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from biomedica_kedro.records import DataError, RejectReason

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")

_CHUNK_BYTES = 1 << 20
_FREE_BYTES = 64 << 20
_DAMAGE = (EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What a package may grow to.

    Attributes:
        max_bytes: bytes of all members together.
        max_ratio: bytes out per byte of the package, beyond the first 64 MB.
        max_members: files in the package.
    """

    max_bytes: int = 2 << 30
    max_ratio: float = 100.0
    max_members: int = 10_000


LIMITS = UnpackLimits()


def read_members(
    path: Path, is_wanted: Callable[[str], bool], limits: UnpackLimits = LIMITS
) -> Iterator[tuple[str, bytes]]:
    """Files of a package by their path in it, in the package's order.

    Args:
        path: a tar, tar.gz or zip.
        is_wanted: whether a member, by its path, is to be read; the others are only passed over.
        limits: see `UnpackLimits`.
    Raises:
        DataError: TRUNCATED_PACKAGE, UNSAFE_MEMBER or TOO_LARGE.
    """
    allowed = min(limits.max_bytes, max(_FREE_BYTES, int(limits.max_ratio * path.stat().st_size)))
    read = _read_zip if path.suffix.lower() == ".zip" else _read_tar
    n_members = 0
    try:
        for name, content in read(path, is_wanted, allowed):
            n_members += 1
            if n_members > limits.max_members:
                raise DataError(RejectReason.TOO_LARGE, f"{path.name} holds more than {limits.max_members} files")
            if content is not None:
                yield name, content
    except _DAMAGE as error:
        detail = f"{path.name} is damaged or cut short: {type(error).__name__}: {error}"
        raise DataError(RejectReason.TRUNCATED_PACKAGE, detail) from error


def _read_tar(path: Path, is_wanted: Callable[[str], bool], allowed: int) -> Iterator[tuple[str, bytes | None]]:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with _Bounded(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_gzip else file, allowed, path.name) as stream:
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
                for member in tar:
                    if member.isdir():
                        continue
                    if not member.isfile() or not _stays_inside(member.name):
                        _refuse_member(path, member.name)
                    content = tar.extractfile(member) if is_wanted(member.name) else None
                    yield member.name, None if content is None else content.read()
            while stream.read(_CHUNK_BYTES):
                pass


def _read_zip(path: Path, is_wanted: Callable[[str], bool], allowed: int) -> Iterator[tuple[str, bytes | None]]:
    n_bytes = 0
    with zipfile.ZipFile(path) as package:
        for member in package.infolist():
            if member.is_dir():
                continue
            if member.flag_bits & 0x1 or not _stays_inside(member.filename):
                _refuse_member(path, member.filename)
            if not is_wanted(member.filename):
                yield member.filename, None
                continue
            with package.open(member) as file:
                content = file.read(allowed - n_bytes + 1)
            n_bytes += len(content)
            if n_bytes > allowed:
                raise _too_large(path.name, allowed)
            yield member.filename, content


def _stays_inside(name: str) -> bool:
    plain = name.replace("\\", "/")
    return not plain.startswith("/") and ":" not in plain[:3] and ".." not in PurePosixPath(plain).parts


def _refuse_member(path: Path, name: str) -> None:
    detail = f"{path.name} holds {name[:200]!r}: a link, a device, encrypted, or a path that leads out of the package"
    raise DataError(RejectReason.UNSAFE_MEMBER, detail)


def _too_large(name: str, allowed: int) -> DataError:
    return DataError(RejectReason.TOO_LARGE, f"{name} unpacks to more than the {allowed} bytes allowed for its size")


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than so many bytes."""

    def __init__(self, stream: IO[bytes], allowed: int, name: str) -> None:
        self._stream = stream
        self._allowed = allowed
        self._left = allowed
        self._name = name

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(_CHUNK_BYTES if size < 0 else size)
        self._left -= len(content)
        if self._left < 0:
            raise _too_large(self._name, self._allowed)
        return content
