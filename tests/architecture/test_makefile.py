"""What the Makefile's targets do that the tools do not do themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_clean_leaves_only_what_git_holds(tmp_path: Path):
    shutil.copy(PROJECT / "Makefile", tmp_path)
    kept = ["data/README.md", "data/01_raw/.gitkeep", "data/06_models/.gitkeep"]
    made = ["data/mlflow.db", "data/06_models/clip/README.md", "data/01_raw/corpus/PMC1.1/PMC1.1.xml", "data/.lock"]
    for name in [*kept, *made]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data/06_models/latest").symlink_to("clip")

    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)

    left = {str(path.relative_to(tmp_path)) for path in (tmp_path / "data").rglob("*")}
    assert left == {*kept, "data/01_raw", "data/06_models"}
