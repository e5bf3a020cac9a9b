"""What may not be in the repository: hosts of package registries, paths of a machine, data, secrets."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [PROJECT / name for name in done.stdout.splitlines() if (PROJECT / name).is_file()]


def test_lock_names_no_host_and_hashes_every_package():
    lock = (PROJECT / "requirements.lock").read_text()
    assert re.findall(r"https?://|file://|--index|--find-links", lock) == []
    pins = re.findall(r"^\S+==\S+.*$", lock, re.MULTILINE)
    assert [pin for pin in pins if not pin.endswith("\\")] == []


def test_only_kept_folders_and_the_readme_are_tracked_under_data(tracked):
    names = {path.name for path in tracked if path.is_relative_to(PROJECT / "data")}
    assert names == {".gitkeep", "README.md"}


def test_no_file_is_larger_than_a_megabyte(tracked):
    assert [str(path) for path in tracked if path.stat().st_size > 1_000_000] == []


def test_how_to_pages_link_to_what_exists():
    pages = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:\s]+?)(?:#[^)]*)?\)", page.read_text())]
    assert [f"{page.name} -> {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_measured_numbers_stand_in_the_results_they_name():
    rows = re.findall(
        r"^\| \[.*?\]\((benchmarks/results/\S+)\) \|.*?\| (.*) \|$", (PROJECT / "README.md").read_text(), re.M
    )
    claims = [(page, number) for page, ours in rows for number in re.findall(r"\d+\.\d+", ours)]
    assert len(claims) > 10
    assert [claim for claim in claims if claim[1] not in (PROJECT / claim[0]).read_text()] == []
