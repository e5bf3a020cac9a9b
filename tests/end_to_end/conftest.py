"""A project of its own in a temporary folder, and one finished `kedro run` in it for all tests that look at results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Project:
    """A copy of the checkout with data of its own."""

    path: Path

    def kedro(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("kedro")), *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"kedro {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}


def make_project(path: Path) -> Project:
    path.mkdir()
    for name in ("conf", "src", "notebooks"):
        shutil.copytree(PROJECT / name, path / name, ignore=shutil.ignore_patterns("__pycache__", "local"))
    for name in ("pyproject.toml", "requirements.lock", ".telemetry"):
        shutil.copy(PROJECT / name, path / name)
    for name in ("conf/local", "data"):
        (path / name).mkdir()
    return Project(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The project after the default run, and what that run printed. Read only: do not run anything in it.

    BIOMEDICA_FINISHED_RUN names a checkout where the default run is done already, to look at its pages without a wait.
    """
    if done_already := os.environ.get("BIOMEDICA_FINISHED_RUN"):
        return Project(Path(done_already)), ""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    done = project.kedro("run")
    return project, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(finished, tmp_path_factory) -> Path:
    """The finished project, to be written to: files are links, which writing replaces, but for MLflow's database."""
    folder = tmp_path_factory.mktemp("copy") / "project"
    link = lambda source, target: (shutil.copy2 if source.endswith(".db") else os.link)(source, target)  # noqa: E731
    ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", "snap-*")
    shutil.copytree(finished[0].path, folder, copy_function=link, symlinks=True, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def mlflow(finished: tuple[Project, str], serve: Callable[..., str]) -> str:
    """URL of MLflow over the runs of the finished project."""
    project, _ = finished
    store = f"sqlite:///{project.path}/data/mlflow.db"
    return serve(
        "env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",  # starts in half the time
        str(Path(sys.executable).with_name("mlflow")), "server", "--backend-store-uri", store,
        "--host=127.0.0.1", "--port={port}", "--workers=1",
        cwd=project.path, path="/health",
    )  # fmt: skip


@pytest.fixture(scope="module")
def viz(finished: tuple[Project, str], serve: Callable[..., str]) -> str:
    """URL of kedro-viz over the finished project."""
    project, _ = finished
    kedro = str(Path(sys.executable).with_name("kedro"))
    command = (kedro, "viz", "run", "--no-browser", "--host=127.0.0.1", "--port={port}")
    return serve(*command, cwd=project.path, path="/api/main")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh project."""
    return make_project(tmp_path / "project")
