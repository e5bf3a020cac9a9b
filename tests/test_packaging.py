"""What the package says of itself beside its code: the container's image, and how it is cited."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from biomedica_kedro import __version__

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of each line of the Dockerfile."""
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


def test_it_is_ten_lines_at_most():
    assert len((PROJECT / "Dockerfile").read_text().splitlines()) <= 10


def test_it_installs_and_runs_by_the_makefile(instructions):
    run = [words.split() for name, words in instructions if name == "RUN" and words.startswith("make ")]
    (command,) = (json.loads(words) for name, words in instructions if name == "CMD")

    assert [*run, command] == [["make", "install"], ["make", "run"]]
    assert {"install", "run"} <= targets()


def test_its_python_is_one_that_the_package_allows(instructions):
    (image,) = (words for name, words in instructions if name == "FROM")
    wanted = re.search(r"python:(3\.\d+)-slim", image)[1]

    assert f"Programming Language :: Python :: {wanted}" in (PROJECT / "pyproject.toml").read_text()
    assert f"python{wanted}" in (PROJECT / "Makefile").read_text()


def test_what_the_installation_compiles_with_is_there(instructions):
    installed = next(words for name, words in instructions if name == "RUN" and "apt-get install" in words)
    assert {"gcc", "libc6-dev", "make"} <= set(installed.split())


def test_everything_that_the_commands_read_is_copied():
    ignored = [line.rstrip("/") for line in (PROJECT / ".dockerignore").read_text().splitlines()]
    needed = {"Makefile", "pyproject.toml", "requirements.lock", "setup.py", "README.md", "LICENSE", "src", "conf"}

    assert needed & set(ignored) == set()
    assert {".git", ".venv*", "data/*", "conf/local/*"} <= set(ignored)


def test_nothing_that_git_ignores_is_copied():
    """An image has no credentials of conf/local and no data."""
    rules = (PROJECT / ".gitignore").read_text().splitlines()
    kept_out = {rule.strip("/").removeprefix("**/") for rule in (PROJECT / ".dockerignore").read_text().splitlines()}
    by_name = {"data/**": "data/*", ".venv": ".venv*", ".venv-peers": ".venv*"}
    private = [rule.strip("/") for rule in rules if rule.split("/")[0] in ("data", "conf", ".venv", ".venv-peers")]

    assert len(private) == 4
    assert {by_name.get(rule, rule) for rule in private} <= kept_out


def test_citation_has_what_the_format_asks_for():
    """Source: Citation File Format 1.2.0, required keys of the file and of a reference."""
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text())

    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert all({"type", "title", "authors"} <= reference.keys() for reference in cited["references"])
    assert all(author.keys() <= {"name", "family-names", "given-names"} for author in cited["authors"])


def test_citation_says_what_the_package_says():
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    package = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

    assert (cited["title"], cited["version"], cited["license"]) == (
        package["name"], package["version"], package["license"]
    )  # fmt: skip
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in package["authors"]]
    assert [reference["url"] for reference in cited["references"]] == [package["urls"]["Paper"]]
    assert package["version"] == __version__
