"""Permissions: the license of an article, and what sets single figures apart from it, by markup or by wording.

Open articles often hold third-party figures ("Reprinted with permission from ..."): the article's license does not
cover them, so they must not be passed on. The permission of a patient or of an ethics committee is another matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lxml import etree

from biomedica_kedro.jats.tree import text_of
from biomedica_kedro.pmc.licenses import License, license_group, read_license
from biomedica_kedro.records import LicenseGroup

_REPRODUCED = r"(?:re-?(?:printed|produced|published|used)|adapted|modified)\b"
_OVERRIDE = re.compile(
    r"\b(?:with|by|under)\s+(?:(?!who|that|gave|had)[\w’'-]+\s+){0,3}?permissions?\b"
    rf"|\b{_REPRODUCED}[^;]{{0,120}}?\bpermissions?\b"
    r"|\bpermissions?\s+(?:from|of|by|granted|obtained|to\s+(?:re|us|adapt|publish))"
    r"|\bunder\s+(?:an?\s+)?licen[cs]e\s+(?:from|by|of)\b|\blicen[cs]ed\s+from\b"
    r"|\b(?:us|publish|reproduc|print)ed\s+under\s+(?:an?\s+)?licen[cs]e\b"
    r"|(?:^|\()re-?(?:printed|published|produced)\s+from\s+(?=[(\[]|ref|fig|(?-i:[A-Z]))"
    r"|©|\bcopyright(?:ed)?\b|\ball rights reserved\b|\(c\)\s*(?:19|20)\d\d",
    re.IGNORECASE,
)
# What the costlier pattern cannot match without, and what tells it from like words; "(c)" alone is mostly a panel.
_HINTS = (b"permission", b"right", b"(c) 19", b"(c) 20", b"licen", b"ed from")
_HINTED = re.compile(rb"permission|copyright|rights reserved|\(c\) (?:19|20)|licen[sc]|p(?:rint|ublish|roduc)ed from")
# People who are shown, in lower case: not the journal "Patient Education".
_PEOPLE = (
    r"\b(?:patient|parent|famil|mother|father|guardian|subject|volunteer|participant|donor|relative|next of kin|owner)"
)
_CONSENT = re.compile(
    r"[Pp]ermissions?\s+(?:to\s+\w+\s+(?:\w+\s+){0,3}?)?(?:(?:was|were|is|granted|obtained|given|received)\s+)*"
    rf"(?:from|of|by)\s+(?:[a-z' ’]{{0,30}}?(?:{_PEOPLE}|\b(?:individual|person|child|wom[ae]n))|(?:him|her)\b)"
    rf"|{_PEOPLE}\w*['’]?s?\s+(?:\w+\s+){{0,3}}permission"
)
# Bodies that allow a study; they own no pictures, unless one is said to be reproduced.
_AUTHORITY = re.compile(
    r"permissions?\b[^;]{0,60}?\b(?:ethic|review board|irb\b|committee|ministr|authorit|government|department of|"
    r"national park|forest|farmer|landowner|animal care"
    r"|(?-i:\b(?:the|our|each|this|that|their|both)\s+(?:[a-z]+\s+){0,2}?"
    r"(?:hospital|clinic|school|institution|health cent)))",
    re.IGNORECASE,
)
_REPRODUCTION = re.compile(_REPRODUCED, re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.;])\s+(?=[A-Z(©])")


def license_of(elements: Sequence[etree._Element]) -> License:
    """The license that `<permissions>`, or what older files have in its place, names by links, attributes and words."""
    texts = [str(value) for element in elements for part in element.iter() for value in part.values()]
    return read_license(*texts, *map(text_of, elements))


def license_override(permissions: etree._Element | None, *texts: str) -> str | None:
    """The wording that sets a figure apart from its article's license.

    Args:
        permissions: `<permissions>` of the figure or of its graphic.
        texts: caption, attribution and notes of the figure.
    Returns:
        The permission text with the license's code where it links one, else what it links; or the sentence that speaks
        of permission or copyright; None when nothing does.
    """
    if permissions is not None:
        text, code = text_of(permissions), license_of([permissions]).code
        linked = (str(value) for part in permissions.iter() for value in part.values() if "://" in value)
        return " ".join(filter(None, (text, None if read_license(text).code == code else code))) or next(linked, None)
    if not _is_hinted("\n".join(texts)):
        return None
    for text in texts:
        for sentence in _SENTENCE.split(text):
            if _sets_apart(sentence):
                return sentence.strip()
    return None


def _is_hinted(text: str) -> bool:
    lowered = text.encode().lower()  # bytes, since letters beyond ASCII take long and are no part of hints
    return "©" in text or (any(map(lowered.__contains__, _HINTS)) and _HINTED.search(lowered) is not None)


def _sets_apart(sentence: str) -> bool:
    if not _is_hinted(sentence) or not _OVERRIDE.search(sentence) or _CONSENT.search(sentence):
        return False
    return not _AUTHORITY.search(sentence) or _REPRODUCTION.search(sentence) is not None


def is_redistributable(override: str | None, article_license: str | None) -> bool | None:
    """Whether a figure may be passed on: by its own license where it has one, else by its article's.

    Returns:
        None when neither says anything that is known.
    """
    if override is not None:
        return read_license(override).code is not None
    if license_group(article_license) is LicenseGroup.OTHER:
        return None
    return True
