"""The bytes of a shard from its beginning to its end, wherever it lies, in one request that survives faults.

What may pass (5xx, 429 and its Retry-After, a reset, a short body, a server that says nothing) is tried again, from
where the bytes stopped; a server that knows no ranges is read again up to there. What cannot pass is an error at once.
"""

from __future__ import annotations

import email.utils
import io
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, cast

from biomedica_kedro.shards.members import ShardError
from biomedica_kedro.shards.places import (
    DEFAULT_ACCESS,
    OBJECT_STORES,
    Access,
    Url,
    file_system,
    local_path,
    scheme_of,
    store_arguments,
)

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LONGEST_CONNECT = 10.0
_LONGEST_RETRY_AFTER = 600.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@contextmanager
def open_shard(url: Url, access: Access = DEFAULT_ACCESS, *, start: int = 0) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a shard for one sequential read.

    Args:
        url: a path, `http(s)://`, `s3://`, `gs://`, `az://`, `hf://datasets/...`, or whatever else fsspec opens.
        access: how it is reached.
        start: byte to begin at; 0 when it is compressed.
    Yields:
        The tar's bytes, unpacked when they are gzip or zstd; and whether `start` may be other than 0 with it.
    Raises:
        FileNotFoundError: when it is not there; PermissionError: when it may not be read; names it.
        ShardError: when it cannot be read to its end.
    """
    path = local_path(url)
    raw: Any
    if path is not None:
        raw = path.open("rb", buffering=0)
    elif access.cache is not None:
        raw = access.cache.open(str(url), lambda target: _copy(str(url), access, target))
    else:
        raw = _Body(str(url), access, start)
    with io.BufferedReader(raw, _CHUNK) as file:
        if not isinstance(raw, _Body):
            file.seek(start)
        kind = next((kind for magic, kind in _COMPRESSED.items() if file.peek(4).startswith(magic)), None)
        if kind is None or start:
            yield cast(BinaryIO, file), True
            return
        with io.BufferedReader(_Unpacked(cast(BinaryIO, file), kind), _CHUNK) as unpacked:
            yield cast(BinaryIO, unpacked), False


def _copy(url: str, access: Access, target: BinaryIO) -> None:
    with _Body(url, access, 0) as body:
        shutil.copyfileobj(body, target, _CHUNK)


class _PassingError(Exception):
    """A failure that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = min(wait, _LONGEST_RETRY_AFTER)


class _Answer(Protocol):
    """Bytes on their way; `total` is the size of the whole shard and `version` its ETag, where they are told."""

    total: int | None
    version: str

    def read(self, n_bytes: int) -> bytes:
        """At least one byte, none at the end; raises `_PassingError`."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class _Body(io.RawIOBase):
    """The bytes from `start` on, through as many answers as it takes."""

    def __init__(self, url: str, access: Access, start: int) -> None:
        self._url = url
        self._access = access
        self._position = start
        self._answer: _Answer | None = None
        self._version = ""
        self._n_failed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                if self._answer is None:
                    self._answer = self._open()
                chunk = self._answer.read(len(buffer))
                if not chunk and self._answer.total is not None and self._position < self._answer.total:
                    raise _PassingError(f"the body stopped at byte {self._position} of {self._answer.total}")
            except _PassingError as error:
                self._fail(error)
            else:
                buffer[: len(chunk)] = chunk
                self._position += len(chunk)
                self._n_failed = 0 if chunk else self._n_failed
                return len(chunk)

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        super().close()

    def _open(self) -> _Answer:
        answer = _open(self._url, self._access, self._position)
        if self._version and answer.version and answer.version != self._version:
            answer.close()
            raise ShardError(f"{self._url} changed while it was read (at byte {self._position}): start the epoch anew")
        self._version = answer.version
        return answer

    def _fail(self, error: _PassingError) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        self._n_failed += 1
        retry = self._access.retry
        if self._n_failed >= retry.tries:
            raise ShardError(
                f"{self._url} cannot be read on from byte {self._position}: {error}, after {self._n_failed} attempts"
            ) from error
        pause = max(error.wait, retry.pause(self._n_failed))
        logger.info("%s: %s; trying again in %.1f s", self._url, error, pause)
        time.sleep(pause)


def _open(url: str, access: Access, start: int) -> _Answer:
    scheme = scheme_of(url)
    if scheme in ("http", "https"):
        return _HttpAnswer.get(url, access, start)
    if scheme == "hf":
        return _HttpAnswer.get(*_on_the_hub(url, access), start)
    if scheme in OBJECT_STORES:
        return _StoreAnswer.get(url, access, start)
    return _FileAnswer.get(url, access, start)


@dataclass(slots=True)
class _HttpAnswer:
    response: Any
    total: int | None
    version: str

    @classmethod
    def get(cls, url: str, access: Access, start: int) -> _HttpAnswer:
        import requests
        from urllib3.exceptions import HTTPError

        # The bytes as they are stored: packed on the way, their count would be of something else.
        headers = {"User-Agent": "biomedica-kedro", "Accept-Encoding": "identity", **access.storage.get("headers", {})}
        if start:
            headers["Range"] = f"bytes={start}-"
        stall = access.retry.timeout
        try:
            response = requests.get(url, headers=headers, stream=True, timeout=(min(stall, _LONGEST_CONNECT), stall))
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error
        status = response.status_code
        if status == 416:
            response.close()
            return cls(None, None, "")
        if status not in (200, 206):
            response.close()
            _refuse(url, status, response.headers)
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if status == 206:
            span, _, size = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if not span.startswith(f"{start}-"):
                response.close()
                raise _PassingError(f"asked for bytes from {start} on, was sent {span!r}")
            total = int(size) if size.isdigit() else None if total is None else total + start
        answer = cls(response, total, response.headers.get("ETag", ""))
        answer.skip(start if status == 200 else 0)
        return answer

    def skip(self, n_bytes: int) -> None:
        """Read over what was read before: the server knows no ranges."""
        while n_bytes > 0:
            chunk = self.read(min(n_bytes, _CHUNK))
            if not chunk:
                raise _PassingError("the body is shorter than it was")
            n_bytes -= len(chunk)

    def read(self, n_bytes: int) -> bytes:
        from urllib3.exceptions import HTTPError

        if self.response is None:
            return b""
        try:
            return bytes(self.response.raw.read1(n_bytes))
        except (HTTPError, OSError) as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        if self.response is not None:
            self.response.close()


@dataclass(slots=True)
class _StoreAnswer:
    chunks: Iterator[Any]
    total: int | None
    version: str
    rest: memoryview = field(default_factory=lambda: memoryview(b""))

    @classmethod
    def get(cls, url: str, access: Access, start: int) -> _StoreAnswer:
        from obstore import get
        from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
        from obstore.store import from_url

        place, _, path = url.partition("://")[2].partition("/")
        # The usual limit is on the whole of a body; a shard may take longer, and only silence is a fault.
        # The usual limit is on the whole of a body; a shard may take longer, and only silence is a fault.
        arguments = store_arguments(access, timeout="1 day", read_timeout=f"{access.retry.timeout:.3f} seconds")
        arguments.setdefault("retry_config", {"max_retries": 1})  # beside the tries here, which go on where it stopped
        try:
            store = from_url(f"{scheme_of(url)}://{place}", **arguments)
            result = get(store, path, options={"range": {"offset": start}} if start else None)
        except (NotFoundError, FileNotFoundError) as error:
            raise FileNotFoundError(f"{url} is not there") from error
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise PermissionError(f"{url} may not be read: check the store's credentials ({error})") from error
        except (BaseError, OSError) as error:
            raise _PassingError(" ".join(str(error).split())[:300]) from error
        return cls(iter(result.stream(min_chunk_size=_CHUNK)), result.meta["size"], result.meta.get("e_tag") or "")

    def read(self, n_bytes: int) -> bytes:
        from obstore.exceptions import BaseError

        if not self.rest:
            try:
                self.rest = memoryview(next(self.chunks, b""))
            except (BaseError, OSError) as error:
                raise _PassingError(" ".join(str(error).split())[:300]) from error
        chunk, self.rest = bytes(self.rest[:n_bytes]), self.rest[n_bytes:]
        return chunk

    def close(self) -> None:
        self.chunks = iter(())


@dataclass(slots=True)
class _FileAnswer:
    """Of any other file system of fsspec, which asks for blocks as they are read."""

    file: Any
    total: int | None
    version: str = ""

    @classmethod
    def get(cls, url: str, access: Access, start: int) -> _FileAnswer:
        system, path = file_system(url, access)
        try:
            file = system.open(path, "rb")
            file.seek(start)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{url} is not there") from error
        except PermissionError:
            raise
        except OSError as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error
        return cls(file, getattr(file, "size", None))

    def read(self, n_bytes: int) -> bytes:
        try:
            return bytes(self.file.read(n_bytes))
        except OSError as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self.file.close()


def _on_the_hub(url: str, access: Access) -> tuple[str, Access]:
    """The http address of `hf://datasets/OWNER/NAME[@REVISION]/PATH`, and the token that opens it."""
    from huggingface_hub import get_token, hf_hub_url

    kind, _, rest = url.removeprefix("hf://").partition("/")
    owner, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    if kind not in ("datasets", "spaces") or not path:
        raise ValueError(f"{url!r} is not of the form hf://datasets/OWNER/NAME[@REVISION]/PATH")
    name, _, revision = name.partition("@")
    address = hf_hub_url(
        f"{owner}/{name}", path, repo_type=kind.removesuffix("s"), revision=revision or None,
        endpoint=access.storage.get("endpoint"),
    )  # fmt: skip
    token = access.storage.get("token") or get_token()
    # requests sends it to this host alone, not to where a redirect leads.
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return address, Access({"headers": headers}, access.retry)


def _refuse(url: str, status: int, headers: Any) -> None:
    if status in (404, 410):
        raise FileNotFoundError(f"{url} is not there (HTTP {status})")
    if status in (401, 403):
        raise PermissionError(f"{url} may not be read (HTTP {status}): it needs a token or a licence to be accepted")
    if status in _BUSY:
        raise _PassingError(f"HTTP {status}", _retry_after(headers.get("Retry-After", "")))
    raise ShardError(f"{url}: HTTP {status}")


def _retry_after(value: str) -> float:
    """Seconds, from a number of them or a date."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


class _Unpacked(io.RawIOBase):
    """What a compressed file holds, with its damage as `ShardError`."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        import pyarrow as pa

        self._file = pa.CompressedInputStream(pa.PythonFile(file, "r"), kind)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._file.read(len(buffer))
        except OSError as error:
            raise ShardError(f"cannot be unpacked: {error}") from error
        buffer[: len(chunk)] = chunk
        return len(chunk)
