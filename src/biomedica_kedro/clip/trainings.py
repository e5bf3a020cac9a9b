"""Each training keeps its model in a folder of its own; the checkpoint's files are those of the latest one.

    clip_checkpoint/
      all.safetensors, all.json, ...          the latest training's files, which take no room twice
      latest -> trainings/biomedica-tiny-1a2b3c4d
      trainings/biomedica-tiny-1a2b3c4d/      the same files and history.parquet; never written over

A training that is asked for again, after others, is taken from its folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa

from biomedica_kedro.clip.sources import FOLDER
from biomedica_kedro.stages.files import atomic_path, link_or_copy, remove_leftovers, remove_unnamed_leftovers
from biomedica_kedro.stages.parquet import read_parquet, write_parquet

TRAININGS, LATEST = "trainings", "latest"
_HISTORY = "history.parquet"
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9.]+")


def training_folder(checkpoint: Path, architecture: str, key: str) -> Path:
    """Folder of a training; its name is that of the tracked run.

    Args:
        checkpoint: folder of `clip_checkpoint`.
        architecture: of the base model.
        key: identity of the training.
    """
    is_place = architecture.startswith(FOLDER) or Path(architecture).suffix == ".json"
    name = Path(architecture).stem if is_place else architecture
    return checkpoint / TRAININGS / f"{_NOT_IN_NAME.sub('-', name).strip('-.')}-{key[:8]}"


def finished_history(training: Path) -> pa.Table | None:
    """History of a training that is finished; None of one that is not."""
    path = training / _HISTORY
    return read_parquet(path) if path.is_file() else None


def declare_finished(training: Path, history: pa.Table) -> None:
    """Remove what killed processes left, and write the history, which says that all other files are there."""
    remove_leftovers(training)
    remove_unnamed_leftovers(training)
    write_parquet(training / _HISTORY, history)


def make_latest(checkpoint: Path, training: Path) -> list[Path]:
    """Make a training's files those of the checkpoint.

    Returns:
        The checkpoint's files.
    """
    files = []
    for source in sorted(training.iterdir()):
        if source.name != _HISTORY and not source.name.startswith("."):
            files.append(checkpoint / source.name)
            with atomic_path(files[-1]) as temporary:
                link_or_copy(source, temporary)
    for left in checkpoint.glob(f".{LATEST}.*"):
        left.unlink()
    link = checkpoint / f".{LATEST}.{os.getpid()}"
    link.symlink_to(Path(TRAININGS) / training.name)
    link.replace(checkpoint / LATEST)
    return files
