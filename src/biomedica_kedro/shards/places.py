"""Where shards lie: folders and URLs, patterns of them, and the file system behind each.

Object stores (`s3://`, `gs://`, `az://`) are reached by obstore, everything else by fsspec. `pipe:` is refused: a
list of shards must never be able to run a command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec
from braceexpand import braceexpand
from fsspec.core import url_to_fs

from biomedica_kedro.http import RETRY_POLICY, RetryPolicy
from biomedica_kedro.shards.disk_cache import DiskCache

SUFFIX = ".tar"
SUFFIXES = (SUFFIX, ".tar.gz", ".tgz", ".tar.zst")
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss"})

Url = str | Path
Listed = TypeVar("Listed")


@dataclass(frozen=True, slots=True)
class Access:
    """How a place is reached; cheap to send to a worker.

    Attributes:
        storage: arguments of the file system: of obstore's store for object stores (`config`, `client_options`), of
            fsspec's otherwise (`headers` for http). Credentials are best left to the environment.
        retry: how long to go on when it fails.
        cache: where whole shards are kept when they are read in sequence; None: nowhere.
    """

    storage: Mapping[str, Any] = field(default_factory=dict)
    retry: RetryPolicy = RETRY_POLICY
    cache: DiskCache | None = None


DEFAULT_ACCESS = Access()


def scheme_of(url: Url) -> str:
    """What stands before `://` in a URL; "file" for a path."""
    text = str(url)
    return text.partition("://")[0].lower() if "://" in text else "file"


def local_path(url: Url) -> Path | None:
    """Path of a local file; None when the URL is of another place."""
    return Path(str(url).removeprefix("file://")) if scheme_of(url) in ("file", "local") else None


def file_system(url: Url, access: Access = DEFAULT_ACCESS) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, and the path there."""
    scheme = scheme_of(url)
    if scheme in OBJECT_STORES:
        from obstore.fsspec import FsspecStore

        system: Any = FsspecStore(cast(Any, scheme), **store_arguments(access))
        return system, str(url).partition("://")[2]
    if scheme in ("file", "local"):
        return url_to_fs(str(url))  # type: ignore[no-any-return]
    return url_to_fs(str(url), **access.storage)  # type: ignore[no-any-return]


def store_arguments(access: Access, **client_options: Any) -> dict[str, Any]:
    """Arguments of obstore's stores: those of the access, and what is left open by them."""
    # Who names an endpoint without TLS, in the environment too, means it.
    client = {"allow_http": True, **client_options, **access.storage.get("client_options", {})}
    return {**access.storage, "client_options": client}


def list_shards(urls: Url | Sequence[Url], access: Access = DEFAULT_ACCESS) -> list[str]:
    """Shards one by one, in order of their names; those of a list in its order.

    Args:
        urls: a shard, a folder of shards, a pattern with `*` or braces (`data-{000000..000123}.tar`), or a list of
            these; several in one text are joined by `::`, as webdataset writes them.
        access: how they are reached.
    Raises:
        ValueError: for `pipe:`, and for braces that do not close.
        FileNotFoundError: when a folder or a pattern has no shards; names it and what is wanted.
    """
    given = [urls] if isinstance(urls, str | Path) else list(urls)
    single = [part for url in given for part in str(url).split("::")]
    found = [shard for url in single for part in _braces(url) for shard in _expand(part, access)]
    if not found:
        raise FileNotFoundError("no shards were given: give a folder, a URL or a list of them")
    return list(dict.fromkeys(found))


def list_files(url: str, pattern: str, access: Access = DEFAULT_ACCESS) -> list[str]:
    """Files of a folder that match a pattern, sorted, as URLs; none: an empty list."""
    system, path = file_system(url, access)
    return _as_urls(system, url, patiently(access, system.glob, f"{path.rstrip('/')}/{pattern}"))


def patiently(access: Access, call: Callable[..., Listed], *arguments: Any) -> Listed:
    """Call again what fails in a way that may pass: a store that is busy, a connection that breaks."""
    n_failed = 0
    while True:
        try:
            return call(*arguments)
        except (FileNotFoundError, PermissionError, NotADirectoryError, ValueError):
            raise
        except store_errors() as error:
            n_failed += 1
            if n_failed >= access.retry.tries:
                raise OSError(f"{arguments[0]} cannot be listed: {error}, after {n_failed} attempts") from error
            time.sleep(access.retry.pause(n_failed))


@cache
def store_errors() -> tuple[type[Exception], ...]:
    """What the file systems raise, each failures of its own, when a place does not answer as it should."""
    from aiohttp import ClientError
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the httpx that it is built on
    from obstore.exceptions import BaseError

    return OSError, ClientError, HTTPError, BaseError


def _braces(url: str) -> list[str]:
    if url.startswith("pipe:"):
        raise ValueError(
            f"{url!r} would run a command: give the URL of the shard itself (http, s3, gs, az, hf, a path)"
        )
    try:
        return list(braceexpand(url, escape=False))
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}; write ranges as {{000000..000123}}") from error


def _expand(url: str, access: Access) -> list[str]:
    if url.lower().partition("?")[0].endswith(SUFFIXES) and "*" not in url:
        return [url]
    system, path = file_system(url, access)
    patterns = [path] if "*" in path else [f"{path.rstrip('/')}/*{suffix}" for suffix in SUFFIXES]
    found = _as_urls(system, url, (file for pattern in patterns for file in patiently(access, system.glob, pattern)))
    if not found:
        wanted = "a shard" if "*" in path else f"*{SUFFIX}"
        raise FileNotFoundError(f"{url} holds no {wanted}: give the folder of the shards, or their names")
    return found


def _as_urls(system: fsspec.AbstractFileSystem, url: str, paths: Any) -> list[str]:
    files = sorted(set(paths))
    return [str(system.unstrip_protocol(file)) for file in files] if "://" in url else files
