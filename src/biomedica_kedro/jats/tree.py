"""Reading an article's tree: its elements gathered in one walk, and texts as a reader sees them.

Compiled where a C compiler was at hand when the package was installed, else in Python with the same results;
`BIOMEDICA_NO_EXTENSIONS=1` in the environment asks for Python. A build of another source than the one beside it, which
an edit or an update without a build leaves, is not used.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Set
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import etree

from biomedica_kedro.jats._tree_python import Walk, children_by_tag, plain_text, text_of, texts_by_tag
from biomedica_kedro.jats.tags import LANGUAGES, XML_LANG

__all__ = [
    "IS_COMPILED",
    "WALK_IDENTITY",
    "Walk",
    "children_by_tag",
    "language_of",
    "plain_text",
    "text_of",
    "text_without",
    "texts_by_tag",
]

IS_COMPILED = False
_HERE = Path(__file__).parent
_LEFT_OUT = "left-out"
_logger = logging.getLogger(__name__)


def _digest(*names: str) -> str:
    return hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in names)).hexdigest()


if not TYPE_CHECKING and not os.environ.get("BIOMEDICA_NO_EXTENSIONS"):
    try:
        from biomedica_kedro.jats import _tree_compiled

        IS_COMPILED = getattr(_tree_compiled, "SOURCE_DIGEST", "") == _digest("_tree_compiled.pyx")
        if IS_COMPILED:
            from biomedica_kedro.jats._tree_compiled import Walk, children_by_tag, plain_text, text_of, texts_by_tag
        else:
            _logger.warning(
                "%s was built from another source and is not used, extraction is slower: build it again (make install)",
                _tree_compiled.__file__,
            )
    except (ImportError, TypeError, ValueError):  # not built, or built for another lxml
        pass


_SOURCES = ["_tree_compiled.pyx", "_tree_python.py", "tags.py"] if IS_COMPILED else ["_tree_python.py", "tags.py"]
WALK_IDENTITY = f"{'compiled' if IS_COMPILED else 'python'}-{_digest(*_SOURCES)[:16]}"
"""Which walk runs, and a digest of what it was built from; the same on every machine with the same source and kind."""


def language_of(element: etree._Element) -> str | None:
    """Language that `xml:lang` names, without region and by two letters: "en-US" and "eng" are "en"; None for none."""
    code = element.get(XML_LANG)
    return _language(code) if code else None


def text_without(element: etree._Element, left_out: Set[etree._Element]) -> str:
    """Text of an element without some of those in it."""
    copy = deepcopy(element)
    for part, twin in zip(element.iter(), list(copy.iter()), strict=True):
        if part in left_out:
            twin.tag = _LEFT_OUT
    etree.strip_elements(copy, _LEFT_OUT, with_tail=False)
    return text_of(copy)


@lru_cache(maxsize=256)
def _language(code: str) -> str | None:
    first = code.replace("_", "-").partition("-")[0].lower()
    return LANGUAGES.get(first, first) or None
