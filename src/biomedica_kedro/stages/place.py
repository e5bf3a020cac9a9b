"""Where files lie: a folder, or a URL of an object store; the rest of the project does not ask which.

A local place is a `pathlib.Path`, any other a `UPath` with the same methods. `s3://`, `gs://` and `az://` are served by
obstore, configured by the environment variables its providers document (AWS_ENDPOINT_URL, AWS_REGION, ...).
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TypeAlias

from upath import UPath

Place: TypeAlias = Path | UPath

_OBSTORE_PROTOCOLS = ("s3", "gs", "az")


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
    if protocol in _OBSTORE_PROTOCOLS:
        _serve_by_obstore()
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


@cache
def _serve_by_obstore() -> None:
    from obstore.fsspec import register

    register(list(_OBSTORE_PROTOCOLS))
