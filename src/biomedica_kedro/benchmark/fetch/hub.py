"""Data sets of the Hugging Face hub, by its own client: resumed, then each file held against the hub's own hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from biomedica_kedro.benchmark.fetch.sources import HubSource, SourceError
from biomedica_kedro.stages.files import sha256_of


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file as the hub lists it.

    Attributes:
        name: path in the repository.
        n_bytes: its size.
        sha256: of its bytes where the hub states it (files in large-file storage).
        git_blob: id of its blob, for the others.
    """

    name: str
    n_bytes: int
    sha256: str
    git_blob: str

    def is_at(self, path: Path) -> bool:
        """Whether the file at a path has these bytes."""
        if not path.is_file() or path.stat().st_size != self.n_bytes:
            return False
        if self.sha256:
            return sha256_of(path) == self.sha256
        return not self.git_blob or _git_blob(path) == self.git_blob


def list_files(source: HubSource, revision: str) -> tuple[str, list[HubFile]]:
    """The revision in full, and the wanted files of it.

    Args:
        source: which repository and which of its files.
        revision: commit, branch or tag; empty for the newest.
    Raises:
        SourceError: when the hub cannot be reached, refuses, or has no such file.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(endpoint=source.endpoint)
    where = f"{source.repository} on the hub"
    try:
        found = api.dataset_info(source.repository, revision=revision or None, files_metadata=True)
    except GatedRepoError as error:
        raise SourceError(f"{where} is gated: accept its terms there, then `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise SourceError(f"{where} has no revision {revision}: its owner may have removed it") from error
    except RepositoryNotFoundError as error:
        raise SourceError(f"{where} does not exist, or is private") from error
    except _client_errors() as error:
        raise SourceError(f"{where} cannot be reached: {error}") from error
    files = [
        HubFile(entry.rfilename, entry.size or 0, entry.lfs.sha256 if entry.lfs else "", entry.blob_id or "")
        for entry in found.siblings or []
        if any(fnmatch(entry.rfilename, pattern) for pattern in source.files)
    ]
    if not files:
        there = ", ".join(entry.rfilename for entry in (found.siblings or [])[:8])
        raise SourceError(f"{where} has no file {', '.join(source.files)}: it has {there or 'none'}")
    return str(found.sha), files


def download(source: HubSource, revision: str, files: Sequence[HubFile], folder: Path) -> None:
    """Bring the files here; those that are here and right are not asked for again.

    Raises:
        SourceError: when one cannot be had, or its bytes are not those that the hub states.
    """
    from huggingface_hub import hf_hub_download

    for file in files:
        path = folder / file.name
        if file.is_at(path):
            continue
        path.unlink(missing_ok=True)
        try:
            hf_hub_download(
                source.repository, file.name, repo_type="dataset", revision=revision, local_dir=folder,
                endpoint=source.endpoint,
            )  # fmt: skip
        except _client_errors() as error:
            raise SourceError(
                f"{file.name} of {source.repository} could not be downloaded: {error}; fetch again to go on"
            ) from error
        if not file.is_at(path):
            found = path.stat().st_size if path.exists() else 0
            path.unlink(missing_ok=True)
            raise SourceError(
                f"{file.name} of {source.repository} has not the bytes that the hub states ({found} of {file.n_bytes}, "
                "or another hash); it was not kept: fetch again"
            )


def _client_errors() -> tuple[type[Exception], ...]:
    """What the client raises: its transport's errors, whichever that is (httpx, httpx2), and those of its Rust part."""
    from huggingface_hub.errors import HfHubHTTPError

    transport = next((cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError"), HfHubHTTPError)
    return transport, OSError, RuntimeError


def _git_blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
