"""How XML from outside is parsed: nothing is fetched, no entity is expanded, sizes and depth keep libxml2's limits.

Source: the security notes of lxml and libxml2; `huge_tree` would lift the limits of 10 MB a text node and 256 levels.
"""

from __future__ import annotations

from lxml import etree


def make_parser(*, recover: bool = False) -> etree.XMLParser:
    """A parser for untrusted bytes; comments and processing instructions are left out.

    Args:
        recover: repair malformed XML instead of refusing it; what was passed over is in the parser's `error_log`.
    """
    return etree.XMLParser(
        resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True, huge_tree=False,
        remove_comments=True, remove_pis=True, recover=recover,
    )  # fmt: skip
