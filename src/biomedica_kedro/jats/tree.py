"""Reading an article's tree: its elements gathered in one walk, and texts as a reader sees them.

Compiled where a C compiler was at hand when the package was installed, else in Python with the same results;
`BIOMEDICA_NO_EXTENSIONS=1` in the environment asks for Python.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lxml import etree

from biomedica_kedro.jats._tree_python import Walk, plain_text, text_of, texts_by_tag

__all__ = ["IS_COMPILED", "Walk", "children_by_tag", "plain_text", "text_of", "texts_by_tag"]

IS_COMPILED = False
if not TYPE_CHECKING and not os.environ.get("BIOMEDICA_NO_EXTENSIONS"):
    try:
        from biomedica_kedro.jats._tree_compiled import Walk, plain_text, text_of, texts_by_tag

        IS_COMPILED = True
    except (ImportError, TypeError, ValueError):  # not built, or built for another lxml
        pass


def children_by_tag(element: etree._Element) -> dict[str, list[etree._Element]]:
    """The children of an element by tag: one pass instead of a `find` for each of many tags."""
    children: dict[str, list[etree._Element]] = {}
    for child in element:
        children.setdefault(child.tag, []).append(child)
    return children
