"""Each part of the library is installed by an extra that brings all it imports, and nothing that it does not."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
PARTS = {
    "jats": ["jats"], "pmc": ["pmc"], "images": ["images", "quality"], "annotate": ["labels", "taxonomy"],
    "shards": ["shards"], "clip": ["clip"], "benchmark": ["benchmark"], "archive": ["archive", "encoders"],
}  # fmt: skip
# Imported where torch is at hand only: a `Dataset` for its loaders, trained encoders, pieces of images beside labels
WITH_CLIP = {"shards": {"torch"}, "annotate": {"torch", "open_clip", "timm"}}
NEVER_IMPORTED = {"openpyxl": "pandas reads Excel by it", "torchvision": "open_clip draws its transforms from it"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "biomedica_kedro", "biomedica_corpus", include_external_packages=True, exclude_type_checking_imports=True,
        cache_dir=None,
    )  # fmt: skip


def imported_by(parts: list[str]) -> set[str]:
    """Top names of other people's packages that modules import, themselves or by way of ours, lazily or not."""
    roots = [f"biomedica_kedro.{part}" for part in parts]
    reached = set().union(*(graph().find_upstream_modules(root, as_package=True) for root in roots))
    return {name for name in reached if not name.startswith("biomedica_")} - sys.stdlib_module_names


def asked(extra: str | None) -> list[Requirement]:
    """What an extra asks for in pyproject.toml; the base for None."""
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return [Requirement(text) for text in listed]


def named_by(extra: str | None) -> set[str]:
    return {canonicalize_name(each.name) for each in asked(extra)} - {PROJECT["name"]}


def declared(extra: str | None) -> set[str]:
    """Names of the packages of an extra, and of the extras of ours that it includes."""
    included = {name for each in asked(extra) if each.name == PROJECT["name"] for name in each.extras}
    return named_by(extra).union(*(declared(name) for name in included))


@cache
def brought(name: str) -> frozenset[str]:
    """A package and everything that it requires, as the metadata of what is installed here says."""
    found, open_ = set(), [name]
    while open_:
        package = open_.pop()
        if package not in found:
            found.add(package)
            open_ += [canonicalize_name(each.name) for each in required(package)]
    return frozenset(found)


def required(package: str) -> list[Requirement]:
    try:
        all_of_it = [Requirement(text) for text in requires(package) or []]
    except PackageNotFoundError:  # for another platform
        return []
    return [each for each in all_of_it if each.marker is None or each.marker.evaluate({"extra": ""})]


def distributions_of(module: str) -> set[str]:
    return {canonicalize_name(name) for name in by_module().get(module, [])}


by_module = cache(packages_distributions)


def brought_by(extra: str) -> set[str]:
    """All packages that are installed with an extra."""
    return {package for name in declared(extra) | declared(None) for package in brought(name)}


def not_brought(extra: str) -> set[str]:
    """Modules of this environment that whoever installs an extra does not have."""
    there = brought_by(extra) | {"setuptools"}  # torch asks for it, and pip may have it
    return {name for name in by_module() if not distributions_of(name) & there and not name.startswith("biomedica_")}


@pytest.mark.parametrize("extra", PARTS)
def test_extra_brings_all_that_its_part_imports(extra):
    there = brought_by(extra)
    missing = {name for name in imported_by(PARTS[extra]) if not distributions_of(name) & there}
    assert missing - WITH_CLIP.get(extra, set()) == set(), f"add to the extra {extra!r}, or import it elsewhere"


@pytest.mark.parametrize("extra", PARTS)
def test_extra_asks_for_nothing_that_its_part_does_not_import(extra):
    used = {package for name in imported_by(PARTS[extra]) for package in distributions_of(name)}
    assert named_by(extra) - used - NEVER_IMPORTED.keys() == set(), f"drop from the extra {extra!r}"


@pytest.mark.parametrize("extra", PARTS)
def test_no_part_brings_the_framework(extra):
    assert {name for name in declared(extra) if re.match("kedro|mlflow", name)} == set()


def test_the_whole_project_brings_every_part():
    assert set().union(*(declared(extra) for extra in PARTS)) <= declared("kedro")
    used = imported_by(["pipelines", "datasets", "hooks", "settings", "pipeline_registry", "stages"])
    there = brought_by("kedro")
    assert {name for name in used if not distributions_of(name) & there} == set()
