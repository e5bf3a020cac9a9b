"""The wheel is a library: each part works outside the checkout, with the packages of its extra and no others.

What is run are the examples of docs/how-to/library.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.test_extras import not_brought
from tests.clip.small_corpus import COLORS, VIT, jpeg
from tests.shards.peers import library, library_beside

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "how-to" / "library.md"
FRAMEWORK = {"kedro", "kedro_datasets", "kedro_mlflow", "kedro_viz", "mlflow"}
ARTICLE = """<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>
<article-id pub-id-type="pmcid">PMC1</article-id><title-group><article-title>Cells</article-title></title-group>
</article-meta></front><body><p>Seen in <xref ref-type="fig" rid="f1">Figure 1</xref>.</p>
<fig id="f1"><label>Figure 1</label><caption><p>A drop of H<sub>2</sub>O.</p></caption>
<graphic xlink:href="g1"/></fig></body></article>"""
BEFORE = """
import importlib.util, sys
import biomedica_kedro
assert biomedica_kedro.__file__.startswith(sys.prefix), biomedica_kedro.__file__
"""
# Packages of this environment that the extra does not bring are not found by the example
WITHOUT = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: None if name.partition(".")[0] in {absent!r} else find_spec(name, *where)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by the tools of this environment; with -O0 it would ask for symbols that lxml keeps."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
    shutil.copytree(PROJECT / "src", source / "src", ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, built],
        cwd=source, env={**os.environ, "CFLAGS": "-O1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return next(built.glob("*.whl"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the examples are run, with the files they read."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "mine").mkdir()
    for seed, (name, color) in enumerate(COLORS.items()):
        (tmp_path / "pictures" / f"{name}.jpg").write_bytes(jpeg(color, seed))
    (tmp_path / "article.xml").write_text(ARTICLE)
    (tmp_path / "model.json").write_text(json.dumps(VIT))
    return tmp_path


def example(extra: str) -> str:
    """The Python of the page that belongs to an extra."""
    of_extra = PAGE.read_text().partition(f"[{extra}]")[2]
    return re.findall(r"^```python\n(.*?)^```$", of_extra, re.M | re.S)[0]


def printed(python: Path, folder: Path, extra: str, before: str = "") -> list[str]:
    done = subprocess.run(
        [python, "-c", BEFORE + before + example(extra)],
        cwd=folder, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def absent(python: Path) -> set[str]:
    code = "import importlib.util, sys; print(*(n for n in sys.argv[1:] if importlib.util.find_spec(n) is None))"
    names = [*FRAMEWORK, "torch", "open_clip", "lancedb", "gradio"]
    return set(subprocess.check_output([python, "-c", code, *names], text=True).split())


def test_articles_are_parsed_without_torch_and_kedro(wheel, folder):
    python = library("jats", wheel)

    assert printed(python, folder, "jats") == ["Figure 1 A drop of H2O. ['Seen in Figure 1.']"]
    assert absent(python) >= FRAMEWORK | {"torch", "open_clip", "lancedb", "gradio"}


def test_walk_over_an_article_is_compiled_in_the_wheel(wheel):
    code = "from biomedica_kedro.jats.tree import IS_COMPILED; print(IS_COMPILED)"
    assert subprocess.check_output([library("jats", wheel), "-c", code], text=True) == "True\n"


def test_command_says_which_extra_is_missing(wheel, folder):
    command = library("jats", wheel).with_name("biomedica")
    told = subprocess.run([command, "--help"], cwd=folder, capture_output=True, text=True, check=True).stdout
    refused = subprocess.run([command, "run"], cwd=folder, capture_output=True, text=True, check=False)

    assert "biomedica browse" in told
    assert refused.returncode == 1
    assert refused.stderr == "biomedica run needs the package 'kedro': pip install 'biomedica-kedro[kedro]'\n"


def test_shards_are_written_streamed_and_inspected(wheel, folder):
    python = library("shards", wheel)

    told = printed(python, folder, "shards")
    assert sorted(line.partition(",")[0] for line in told) == ["Sample(blue", "Sample(red"]
    lint = [python.with_name("biomedica"), "shards", "lint", "mine"]
    assert "4 samples" in subprocess.check_output(lint, cwd=folder, text=True)
    assert absent(python) >= FRAMEWORK | {"torch", "lancedb", "gradio"}


def test_models_are_compared(wheel, folder):
    python = library("benchmark", wheel)

    told = printed(python, folder, "benchmark")

    assert told[0] == "40 tasks of the paper"
    assert "ours" in told[2] and "theirs" in told[2] and " 0.5 " in " ".join(told[2].split())
    assert absent(python) >= FRAMEWORK | {"torch", "open_clip", "lancedb", "gradio"}


def test_images_and_words_become_vectors(wheel, folder):
    """torch is borrowed from this environment, not installed again; what the extra does not bring is hidden."""
    python = library_beside("library_clip", wheel)

    absent = not_brought("clip")
    assert absent >= FRAMEWORK | {"lancedb", "gradio", "sklearn"}
    assert printed(python, folder, "clip", WITHOUT.format(absent=absent)) == ["(4, 2)"]
