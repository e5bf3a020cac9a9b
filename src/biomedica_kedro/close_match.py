"""Words for an error about an unknown name: what was probably meant, or else what there is."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_LISTED = 20


def close_match(name: str, known: Iterable[str]) -> str:
    """The known name that comes close, whatever its case; all known names when none does.

    Args:
        name: what was given.
        known: what could have been given.
    Example:
        >>> close_match("sizes", ["size", "seed"])
        "did you mean 'size'?"
        >>> close_match("color", ["size", "seed"])
        'there are seed, size'
    """
    names = {each.casefold(): each for each in sorted(known)}
    close = get_close_matches(name.casefold(), names, n=1)
    if close:
        return f"did you mean {names[close[0]]!r}?"
    listed = list(names.values())
    if not listed:
        return "there are none"
    more = f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    return f"there are {', '.join(listed[:_MOST_LISTED])}{more}"
