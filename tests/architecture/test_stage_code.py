"""A stage's digest changes with the code it runs, and with no other."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
import yaml

from biomedica_kedro.pipelines.extraction.stages import parse_articles

sys.path.insert(0, str(Path(__file__).parent))
import stage_code

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
        for cached in (stage_code._digest_of, stage_code._read, stage_code._path_of):
            cached.cache_clear()
        importlib.invalidate_caches()
        folder = tmp_path / "staged"
        folder.mkdir(exist_ok=True)
        assert not old or sum(old in text for text in PACKAGE.values()) == 1
        for file, text in PACKAGE.items():
            (folder / file).write_text(text.replace(old, new) if old else text)
            os.utime(folder / file, (0, 0))
        return stage_code.code_digest(importlib.import_module("staged.stage").run)

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


def test_digests_follow_the_package():
    seen = {}
    stage_code._follow(parse_articles.__module__, "parse_articles", seen)
    modules = {module.removeprefix("biomedica_kedro.") for module, _ in seen}
    assert {"jats.figures", "jats._tree_python", "jats._tree_compiled", "pmc.archive", "records"} <= modules
    assert not any(module.startswith(("stages", "clip", "labels")) for module in modules)


def test_a_stage_whose_code_changed_has_a_new_version_or_was_confirmed():
    locked = yaml.safe_load(stage_code.LOCK.read_text())
    now = stage_code.stages_of_this_project()
    changed = sorted(name for name in locked.keys() | now.keys() if locked.get(name) != now.get(name))
    assert changed == [], (
        "the code of these stages changed: raise the version of those whose results change, "
        "then run `python tests/architecture/stage_code.py`"
    )
