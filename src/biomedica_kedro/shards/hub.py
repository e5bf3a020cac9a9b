"""Put the published folder on the Hugging Face hub; nothing leaves the machine unless a repository is named."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedica_kedro.batches import BatchFolder
from biomedica_kedro.batches.files import write_json
from biomedica_kedro.records import Options
from biomedica_kedro.shards.writer import SUFFIX

logger = logging.getLogger(__name__)


class HubOptions(Options):
    """Where to publish.

    Attributes:
        repository: "organization/name"; None publishes nothing.
        private: whether a new repository is private.
        endpoint: address of another hub than the public one.
    """

    repository: str | None = None
    private: bool = True
    endpoint: str | None = None


def push_to_hub(
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
    if options.repository is None:
        return {"repository": None, "commit": None}
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        lay_out(root, folders, card, croissant)
        api = HfApi(endpoint=options.endpoint)
        api.create_repo(options.repository, repo_type="dataset", private=options.private, exist_ok=True)
        stale = [f"{name}/*" for name in folders]
        pushed = api.upload_folder(
            repo_id=options.repository, folder_path=root, repo_type="dataset", delete_patterns=stale
        )
    logger.info("published %s", options.repository)
    return {"repository": options.repository, "commit": pushed.oid}


def lay_out(root: Path, folders: Mapping[str, BatchFolder], card: str, croissant: Mapping[str, Any]) -> None:
    """Make the published folder, its large files as links; data sets without rows are left out."""
    (root / "README.md").write_text(card)
    write_json(root / "croissant.json", dict(croissant))
    for name, folder in folders.items():
        commits = [folder.commit(batch) for batch in folder.names()]
        files = [file for commit in commits if commit for file in commit.files]
        has_content = any(file.endswith(SUFFIX) for file in files) or any(commit.rows for commit in commits if commit)
        if has_content:
            (root / name).mkdir()
            for file in files:
                (root / name / file).symlink_to((folder.path / file).resolve())
