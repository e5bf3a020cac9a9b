"""Put the published folder on the Hugging Face hub or under a URL; nothing leaves the machine unless one is named."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biomedica_kedro.records import Options
from biomedica_kedro.shards.targets import publish
from biomedica_kedro.shards.writer import SUFFIX
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import sha256_of, write_json
from biomedica_kedro.stages.place import local

logger = logging.getLogger(__name__)


class HubOptions(Options):
    """Where to publish.

    Attributes:
        repository: "organization/name"; None publishes nothing.
        private: whether a new repository is private.
        endpoint: address of another hub than the public one.
        url: folder to copy to, on any file system of fsspec ("s3://bucket/folder"); None copies nothing.
    """

    repository: str | None = None
    private: bool = True
    endpoint: str | None = None
    url: str | None = None


def publish_folders(
    folders: Mapping[str, BatchFolder], card: str, croissant: Mapping[str, Any], options: HubOptions
) -> dict[str, Any]:
    """Upload shards, tables, card and Croissant metadata.

    The token is the hub client's own (`hf auth login`, or HF_TOKEN): it is never a parameter, so it is in no log.

    Args:
        folders: "shards", "metadata", "index", ...: what goes into the folder of that name.
        card: the README.
        croissant: the Croissant metadata.
        options: the repository.
    Returns:
        What was published where.
    """
    receipt: dict[str, Any] = {"repository": options.repository, "commit": None, "url": options.url}
    if options.repository is None and options.url is None:
        return receipt
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        checksums = lay_out(root, folders, card, croissant)
        if options.url is not None:
            publish(root, options.url, checksums)
            receipt["files"] = len(checksums)
        if options.repository is not None:
            receipt["commit"] = _upload(root, options.repository, list(folders), options)
    return receipt


def _upload(root: Path, repository: str, folders: Sequence[str], options: HubOptions) -> str:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=options.endpoint)
    api.create_repo(repository, repo_type="dataset", private=options.private, exist_ok=True)
    stale = [f"{name}/*" for name in folders]
    pushed = api.upload_folder(repo_id=repository, folder_path=root, repo_type="dataset", delete_patterns=stale)
    logger.info("published %s", repository)
    commit: str = pushed.oid
    return commit


def lay_out(root: Path, folders: Mapping[str, BatchFolder], card: str, croissant: Mapping[str, Any]) -> dict[str, str]:
    """Make the published folder, its large files as links; data sets without rows are left out.

    Returns:
        The sha256 of each file, by its path below `root`; shards come before the table that names them.
    """
    checksums: dict[str, str] = {}
    for name, folder in folders.items():
        commits = [commit for batch in folder.names() if (commit := folder.commit(batch))]
        records = {file: record for commit in commits for file, record in commit.files.items()}
        if any(file.endswith(SUFFIX) for file in records) or any(commit.rows for commit in commits):
            (root / name).mkdir()
            for file, record in records.items():
                (root / name / file).symlink_to(local(folder.path / file, "publishing").resolve())
                checksums[f"{name}/{file}"] = record.sha256
    (root / "README.md").write_text(card)
    write_json(root / "croissant.json", dict(croissant))
    return checksums | {name: sha256_of(root / name) for name in ("README.md", "croissant.json")}
