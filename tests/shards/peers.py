"""Environments of other people's readers, made once by the tests that need them, below the project and outside git."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

FOLDER = Path(__file__).resolve().parents[2] / ".venv-peers"
# Newest first, then the last of the major version before; raise them with their releases
REQUIREMENTS = {
    "datasets_newest": ["datasets==5.2.0", "pillow"],
    "datasets_before": ["datasets==4.8.5", "pillow"],
    "tables": ["daft==0.7.26", "pylance==14.0.2"],
    "img2dataset": ["img2dataset==1.47.0"],
}
# Packages of its own beside those of this environment that it borrows: all but the project
BORROWERS = {"open_clip": ["open-clip-torch==3.3.0"]}
# Laid over this environment: what open_clip's training loader needs, without another torch
OVERLAYS = {"webdataset_before": ["webdataset==0.2.86", "braceexpand"]}
_UNREACHABLE = ("error sending request", "dns error", "Connect", "client error", "timed out")


@cache
def peer(name: str) -> Path:
    """The Python of an environment; the test is skipped when no package index answers."""
    python = FOLDER / name / "bin" / "python"
    with _made_once(name, REQUIREMENTS[name]) as is_there:
        if not is_there:
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER / name))
            _uv("pip", "install", "--quiet", "--python", str(python), *REQUIREMENTS[name])
    return python


@cache
def borrower(name: str) -> Path:
    """The Python of an environment without the project, which borrows heavy packages of this one; see `peer`."""
    python = FOLDER / name / "bin" / "python"
    with _made_once(name, BORROWERS[name]) as is_there:
        if not is_there:
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER / name))
            _uv("pip", "install", "--quiet", "--no-deps", "--python", str(python), *BORROWERS[name])
            _borrow(name)
    return python


@cache
def library(extra: str, wheel: Path) -> Path:
    """The Python of an environment with the project's wheel, what one of its extras asks for, and nothing else."""
    name = f"library_{extra}"
    python = FOLDER / name / "bin" / "python"
    with _made_once(name, []) as is_there:
        if not is_there:
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER / name))
        wanted = f"biomedica-kedro[{extra}] @ {wheel.as_uri()}"
        locked = ["--constraint", str(FOLDER.with_name("requirements.lock"))]
        _uv("pip", "install", "--quiet", "--exact", "--python", str(python), *locked, wanted)
    return python


@cache
def library_beside(name: str, wheel: Path) -> Path:
    """The Python of an environment with the project's wheel, which borrows every other package of this one."""
    python = FOLDER / name / "bin" / "python"
    with _made_once(name, []) as is_there:
        if not is_there:
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER / name))
            _borrow(name)
        _uv("pip", "install", "--quiet", "--no-deps", "--reinstall", "--python", str(python), str(wheel))
    return python


@cache
def overlay(name: str) -> Path:
    """A folder to be put first on the path of this Python; see `peer`."""
    with _made_once(name, OVERLAYS[name]) as is_there:
        if not is_there:
            wanted = ["--no-deps", "--target", str(FOLDER / name), *OVERLAYS[name]]
            _uv("pip", "install", "--quiet", "--python", sys.executable, *wanted)
    return FOLDER / name


def _borrow(name: str) -> None:
    """Let an environment see the packages of this one: all but the project."""
    (own,) = (FOLDER / name / "lib").glob("python*/site-packages")
    # A plain path: the .pth files in it, by which the project is installed to be edited, are not followed.
    (own / "borrowed.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")


@contextmanager
def _made_once(name: str, requirements: list[str]) -> Iterator[bool]:
    """Whether an environment of these requirements is there; it is, when the block succeeds."""
    made = FOLDER / name / "made.json"
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / f"{name}.lock"):
        is_there = made.exists() and json.loads(made.read_text()) == requirements
        yield is_there
        made.write_text(json.dumps(requirements))


# Threads of a library that reads ahead may fail while the interpreter ends, after all was read.
_END = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n"


def read_by(python: Path | str, script: str, *arguments: object, **environment: object) -> object:
    """The last line a script prints, as JSON, when a Python runs it with arguments and variables."""
    env = {**os.environ, "WDS_SECURE": "1", "HF_HUB_OFFLINE": "1"}
    env |= {name: str(value) for name, value in environment.items()}
    command = [str(python), "-c", script + _END, *map(str, arguments)]
    read = subprocess.run(command, env=env, capture_output=True, check=False, text=True)
    assert read.returncode == 0, read.stderr[-3000:]
    return json.loads(read.stdout.splitlines()[-1])


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    command = [str(beside) if beside.exists() else "uv", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode and any(sign in done.stderr for sign in _UNREACHABLE):
        pytest.skip(f"no package index answers: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
