"""A stage's digest changes with the code it runs, and with no other."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from biomedica_kedro.batches import code
from biomedica_kedro.jats.stage import parse_batch
from biomedica_kedro.pipelines.annotation import steps

PACKAGE = {
    "__init__.py": "",
    "stage.py": '''
"""Text."""
from staged import tools
from staged.names import NAMES as KNOWN
from staged.shapes import Shape
from .relative import near
from staged.starred import *
import staged.dotted
try:
    from staged.quick import add
except ImportError:
    from staged.slow import add

from math import floor as rounded

LIMIT = 3
PAGE = """
# Heading
"""
if LIMIT > 2:
    BOUND = 1
else:
    BOUND = 0

def run(batch, options):
    """What it does."""
    # as it is
    from staged.lazy import late
    told = tools.helper(KNOWN, LIMIT, Shape().area(), late(), add(1, 2), near(), far())
    return told, staged.dotted.whole(), rounded(1.5), PAGE, BOUND

def other():
    return 1
''',
    "tools.py": """
import functools

def helper(*things):
    return inner(things)

def inner(things):
    return "inner"

def unused():
    return "unused"

@functools.singledispatch
def told(thing):
    return "thing"

@told.register
def _(thing: int):
    return "registered"
""",
    "names.py": "NAMES = ['name']\nOTHERS = ['others']\n",
    "shapes.py": "class Shape:\n    def area(self):\n        return side()\n\ndef side():\n    return 'side'\n",
    "quick.py": "def add(a, b):\n    return 'quick'\n",
    "slow.py": "def add(a, b):\n    return 'slow'\n",
    "relative.py": "def near():\n    return 'near'\n",
    "starred.py": "def far():\n    return 'far'\n",
    "dotted.py": "def whole():\n    return 'whole'\n",
    "lazy.py": "def late():\n    return 'late'\n",
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Digest of the package's `run`, some text in its source replaced."""
    monkeypatch.syspath_prepend(tmp_path)

    def digest(old="", new=""):
        for name in [name for name in sys.modules if name.partition(".")[0] == "staged"]:
            del sys.modules[name]
        for cached in (code._digest_of, code._read, code._path_of):
            cached.cache_clear()
        importlib.invalidate_caches()
        folder = tmp_path / "staged"
        folder.mkdir(exist_ok=True)
        assert not old or sum(old in text for text in PACKAGE.values()) == 1
        for file, text in PACKAGE.items():
            (folder / file).write_text(text.replace(old, new) if old else text)
            os.utime(folder / file, (0, 0))
        return code.code_digest(importlib.import_module("staged.stage").run)

    return digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("tools.helper(KNOWN, LIMIT", "tools.helper(LIMIT, KNOWN"),
        ('return "inner"', 'return "changed"'),
        ("['name']", "['changed']"),
        ("return 'side'", "return 'changed'"),
        ("return side()", "return side() + side()"),
        ("return 'late'", "return 'changed'"),
        ("return 'quick'", "return 'changed'"),
        ("return 'slow'", "return 'changed'"),
        ('return "registered"', 'return "changed"'),
        ("floor as", "ceil as"),
        ("# Heading", "# Title"),
        ("LIMIT > 2", "LIMIT > 3"),
        ("return 'near'", "return 'changed'"),
        ("return 'far'", "return 'changed'"),
        ("return 'whole'", "return 'changed'"),
    ],
    ids=[
        "constant",
        "function",
        "helper of a helper",
        "imported constant",
        "function of a class",
        "method",
        "lazy import",
        "preferred import",
        "other import",
        "registered",
        "function of another library",
        "line of a text that looks like a comment",
        "condition",
        "relative import",
        "starred import",
        "dotted import",
    ],
)
def test_what_a_stage_uses_counts(digest, old, new):
    assert digest(old, new) != digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What it does."""', '"""What it really does."""'),
        ("    # as it is\n", "\n\n    # as it should be\n"),
        ('return "unused"', 'return "changed"'),
        ("return 1", "return 2"),
        ("['others']", "['changed']"),
    ],
    ids=["docstring", "comment", "unused helper", "unused function", "unused constant"],
)
def test_what_a_stage_does_not_use_does_not_count(digest, old, new):
    assert digest(old, new) == digest()


def test_what_is_edited_while_a_run_is_under_way_is_not_taken_for_what_ran(digest, monkeypatch):
    before = digest()
    monkeypatch.setattr(code, "_STARTED", -1.0)
    assert digest() != before


def test_digests_follow_the_package():
    seen = {}
    code._follow(parse_batch.__module__, "parse_batch", seen)
    modules = {module.removeprefix("biomedica_kedro.") for module, _ in seen}
    assert {"jats.figures", "jats._tree_python", "jats._tree_compiled", "pmc.archive", "records"} <= modules
    assert not any(module.startswith(("batches", "clip", "labels")) for module in modules)
    assert len({code.code_digest(step) for step in (parse_batch, steps.embed_batch, steps.fit_components)}) == 3


def test_code_without_a_source_is_known_by_the_version(monkeypatch):
    function = eval("lambda batch: batch", {"__name__": "nowhere"})
    before = code.code_digest(function)
    code._digest_of.cache_clear()
    monkeypatch.setattr(code, "__version__", "next")
    assert code.code_digest(function) != before
