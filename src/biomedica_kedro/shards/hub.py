"""Put the published folder on the Hugging Face hub or under a URL; nothing leaves the machine unless one is named.

First comes a table of what would be copied. On the hub files go up a commit after the other, those that others name
last: a push that is cut off goes on where it stood, since what is there already is not sent again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from biomedica_kedro.records import HOW, Options
from biomedica_kedro.shards.publication import lay_out, subset_of_file
from biomedica_kedro.shards.releases import check_not_released, write_release
from biomedica_kedro.shards.selection import Subset
from biomedica_kedro.shards.targets import known_checksums, publish
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

# What a push may delete: everything else in a repository is its owner's.
_OURS = ("shards/", "parquet/", "metadata/", "index/", "articles/", "references/", *(f"{subset}/" for subset in Subset))


class HubOptions(Options):
    """Where to publish.

    Attributes:
        repository: "organization/name"; None publishes nothing.
        private: whether a new repository is private.
        endpoint: address of another hub than the public one.
        url: folder to copy to, on any file system of fsspec ("s3://bucket/folder"); None copies nothing.
        dry_run: only say what would be copied.
        release: name of the release, a date ("2026-11-26"): writes changelog and tombstones, and tags the repository.
        previous: folder or URL of the release before.
        files_per_commit: files that go up together.
    """

    repository: str | None = None
    private: bool = True
    endpoint: str | None = None
    url: str | None = None
    dry_run: bool = False
    release: str | None = None
    previous: str | None = None
    files_per_commit: Annotated[int, HOW] = Field(default=50, ge=1)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one file at the target: "add", "change", "delete" or "keep"."""

    path: str
    action: str
    n_bytes: int


def publish_folders(
    folders: Mapping[str, BatchFolder],
    card: str,
    croissant: Mapping[str, Any],
    options: HubOptions,
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Upload shards, tables, card and Croissant metadata.

    The token is the hub client's own (`hf auth login`, or HF_TOKEN): it is never a parameter, so it is in no log.

    Args:
        folders: "shards", "metadata", "index", ...: what goes into the folder of that name.
        card: the README.
        croissant: the Croissant metadata.
        options: the repository.
        reasons: why samples are published no more, by key, for the tombstones.
    Returns:
        What was published where.
    """
    receipt: dict[str, Any] = {"repository": options.repository, "commit": None, "url": options.url}
    if options.repository is None and options.url is None:
        return receipt
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        checksums = lay_out(root, folders, card, croissant)
        if options.release is not None:
            written = write_release(root, options.release, options.previous, reasons or {})
            checksums |= {name: sha256_of(root / name) for name in written}
        if options.url is not None:
            check_not_released(options.url, options.release)
            receipt["files"] = len(checksums)
            receipt["changes"] = _table(options.url, _changes(root, checksums, known_checksums(options.url)))
            if not options.dry_run:
                publish(root, options.url, checksums)
        if options.repository is not None:
            _push(root, checksums, options, receipt)
    return receipt


def _push(root: Path, checksums: Mapping[str, str], options: HubOptions, receipt: dict[str, Any]) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=options.endpoint)
    repository = str(options.repository)
    if not options.dry_run:
        api.create_repo(repository, repo_type="dataset", private=options.private, exist_ok=True)
    changes = _changes(root, checksums, _on_hub(api, repository, root, checksums), deletes=True)
    receipt["changes"] = _table(repository, changes)
    if options.dry_run:
        return
    receipt["commit"] = _commit(api, root, changes, options)
    if options.release is not None:
        api.create_tag(repository, tag=options.release, repo_type="dataset", exist_ok=True)
    logger.info("published %s", repository)


def _commit(api: HfApi, root: Path, changes: Sequence[Change], options: HubOptions) -> str | None:
    """Send what changed, some files a commit; what is published no more goes with the last one."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    sent = [change for change in changes if change.action in ("add", "change")]
    parts: list[list[Any]] = [
        [CommitOperationAdd(change.path, str((root / change.path).resolve())) for change in sent[start:][:n]]
        for n in [options.files_per_commit]
        for start in range(0, len(sent), n)
    ]
    deleted = [CommitOperationDelete(change.path) for change in changes if change.action == "delete"]
    if deleted:
        parts = [*parts[:-1], [*(parts[-1] if parts else []), *deleted]]
    commit: str | None = None
    for number, operations in enumerate(parts, start=1):
        message = f"Publish {options.release or 'the data set'}, part {number} of {len(parts)}"
        commit = api.create_commit(
            str(options.repository), operations, commit_message=message, repo_type="dataset"
        ).oid  # fmt: skip
    return commit


def _on_hub(api: HfApi, repository: str, root: Path, checksums: Mapping[str, str]) -> dict[str, str]:
    """sha256 of the files in a repository; small ones by whether they are as ours; none when there is no such one."""
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    try:
        entries = list(api.list_repo_tree(repository, recursive=True, repo_type="dataset"))
    except RepositoryNotFoundError:
        return {}
    known = {}
    for entry in entries:
        if isinstance(entry, RepoFile):
            is_ours = entry.path in checksums and entry.lfs is None and entry.blob_id == _git_hash(root / entry.path)
            known[entry.path] = entry.lfs.sha256 if entry.lfs else checksums[entry.path] if is_ours else ""
    return known


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _changes(
    root: Path, checksums: Mapping[str, str], known: Mapping[str, str], *, deletes: bool = False
) -> list[Change]:
    changes = []
    for path, sha256 in checksums.items():
        action = "add" if path not in known else "keep" if known[path] == sha256 else "change"
        changes.append(Change(path, action, (root / path).stat().st_size))
    gone = [path for path in known if path not in checksums and path.startswith(_OURS)] if deletes else []
    return [*changes, *(Change(path, "delete", 0) for path in sorted(gone))]


def _table(target: str, changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Files and bytes by subset and action; told before anything is sent."""
    files: Counter[tuple[str, str]] = Counter()
    n_bytes: Counter[tuple[str, str]] = Counter()
    for change in changes:
        row = (str(subset_of_file(change.path) or "all"), change.action)
        files[row] += 1
        n_bytes[row] += change.n_bytes
    rows = [
        {"subset": subset, "action": action, "files": files[subset, action], "bytes": n_bytes[subset, action]}
        for subset, action in sorted(files)
    ]
    logger.info(
        "to %s:\n%s", target,
        "\n".join(f"  {r['subset']:14}{r['action']:8}{r['files']:8,} files {r['bytes']:18,} bytes" for r in rows),
    )  # fmt: skip
    return rows
