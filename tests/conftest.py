"""Fixtures for the whole suite: real data where it is at hand, and running a node's plan in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from biomedica_kedro.batches import BatchFolder, PlannedOutput

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real articles, figures and labelled images; tests that ask for them are skipped where they are absent."""
    folder = Path(os.environ.get("BIOMEDICA_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real data are not at hand (set BIOMEDICA_REAL_DATA)")
    return folder


@pytest.fixture
def run_plan(tmp_path: Path) -> Callable[[Sequence[PlannedOutput]], dict[str, BatchFolder]]:
    """Deliver a node's outputs to folders under tmp_path, which does the work; returns the folders by name."""

    def run(outputs: Sequence[PlannedOutput], root: Path = tmp_path) -> dict[str, BatchFolder]:
        folders = {output.name: BatchFolder(root / output.name) for output in outputs}
        for output in outputs:
            output.deliver(folders[output.name])
        return folders

    return run
