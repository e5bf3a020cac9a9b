"""Every block of docs/how-to and the tutorial runs, or says what runs it, or why it is not run.

A comment before a block speaks for it: `<!-- run by tests/x/test_y.py -->` or `<!-- not run: because -->`. Other blocks
are run in a copy of the finished project: Python with the catalog at hand, commands one by one; YAML is read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "docs" / "tutorial.md", *sorted((PROJECT / "docs" / "how-to").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<said>(?:not run|run by).*?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
RUN = """
import pathlib, sys
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

bootstrap_project(pathlib.Path.cwd())
with KedroSession.create() as session:
    catalog = session.load_context().catalog
    for page in sys.argv[1:]:
        exec(compile(pathlib.Path(page).read_text(), page, "exec"), {"catalog": catalog})
print("ran", len(sys.argv) - 1)
"""


@dataclass(frozen=True)
class Block:
    page: str
    kind: str
    text: str
    said: str | None


def blocks() -> list[Block]:
    found = ((page, match) for page in PAGES for match in BLOCK.finditer(page.read_text()))
    return [Block(page.name, match["kind"] or "shell", match["text"], match["said"]) for page, match in found]


def unspoken(kind: str) -> list[Block]:
    """Of the how-to pages; the tutorial is one story, which `test_tutorial` goes through."""
    told = [block for block in blocks() if block.said is None and block.page != PAGES[0].name]
    return [block for block in told if block.kind == kind]


@pytest.fixture(scope="module")
def commanded(copy, finished) -> list[str]:
    """The commands of all pages, after they were run in the copy; what they leave there, Python reads."""
    commands = [line for block in unspoken("shell") for line in block.text.splitlines() if line.strip()]
    for command in commands:
        run_command(command, copy, finished[0].environment)
    return commands


def run_command(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a line of a page prints, run where the project's tools are on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return done.stdout + done.stderr


def test_every_block_is_found():
    fences = sum(page.read_text().count("\n```") for page in PAGES)
    assert 2 * len(blocks()) == fences


def test_every_block_that_nothing_is_said_of_has_a_kind_that_is_run_or_read():
    assert {block.kind for block in blocks() if block.said is None} <= {"shell", "python", "yaml"}


def test_every_exception_names_a_test_or_a_reason():
    for block in blocks():
        if block.said is not None and block.said.startswith("run by"):
            named = re.findall(r"tests/[\w/]+\.py", block.said)
            assert named and all((PROJECT / name).is_file() for name in named), block
        elif block.said is not None:
            assert len(block.said.removeprefix("not run").strip(": ").split()) >= 3, block


@pytest.mark.parametrize("block", unspoken("yaml"), ids=lambda block: block.page)
def test_yaml_can_be_read(block):
    assert yaml.safe_load(block.text)


@pytest.mark.usefixtures("commanded")
def test_python_runs(copy, finished, tmp_path):
    pages = {}
    for block in unspoken("python"):
        pages.setdefault(block.page, []).append(block.text)
    files = [tmp_path / f"{page}.py" for page in pages]
    for file, texts in zip(files, pages.values(), strict=True):
        file.write_text("\n".join(texts))
    command = [sys.executable, "-c", RUN, *map(str, files)]
    done = subprocess.run(command, cwd=copy, env=finished[0].environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == f"ran {len(files)}"


def test_commands_run(commanded):
    assert any("refill" in command for command in commanded)
