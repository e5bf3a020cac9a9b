"""Licenses: of the article, and of single figures that are set apart from it by markup or by wording.

Open articles often hold third-party figures ("Reprinted with permission from ..."): the article's license does not
cover them, so they must not be passed on.
"""

from __future__ import annotations

import re

from lxml import etree

from biomedica_kedro.jats.graphics import href_of
from biomedica_kedro.jats.tree import text_of
from biomedica_kedro.pmc.identifiers import license_group
from biomedica_kedro.records import LicenseGroup

_CC_URL = re.compile(
    r"creativecommons\.org/(?:licen[cs]es/(?P<code>[a-z-]+)|publicdomain/(?P<public>zero|mark))", re.IGNORECASE
)
_CC_WORDS = re.compile(
    r"\bCC[ -]?(?P<zero>0|zero)\b|\bCC[ -](?P<code>BY(?:[ -](?:NC|SA|ND))*)\b"
    r"|\bCreative Commons (?P<words>Attribution(?:[\s–-]+"
    r"(?:Non-?Commercial|Share-?Alike|No-?Deriv(?:ative)?s?(?: Works)?))*)",
    re.IGNORECASE,
)
_OVERRIDE = re.compile(
    r"(?:(?:re-?(?:printed|produced|published|used)|adapted|modified|used|obtained|taken|adopted)\b[^.;]{0,120}?"
    r"\bpermissions?\b|\bpermissions?\s+(?:from|of|by)\b|\bby\s+permission\b|©|\bcopyright\b|\ball rights reserved\b|"
    r"\(c\)\s*(?:19|20)\d\d)",
    re.IGNORECASE,
)
# Words without which the costlier pattern cannot match; "(c)" alone is nearly always a panel.
_HINTS = ("permission", "©", "copyright", "rights reserved", "(c) 19", "(c) 20")
_CONSENT = re.compile(
    r"permissions?\s+(?:from|of|by)\s+(?:the\s+|his\s+|her\s+)?(?:patient|parent|famil|subject|volunteer)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.;])\s+(?=[A-Z(©])")
_WORDS_TO_CODE = (("noncommercial", "NC"), ("sharealike", "SA"), ("noderiv", "ND"))


def license_code_of(permissions: etree._Element | None) -> str | None:
    """PMC-style license code ("CC BY-NC") of a `<permissions>` element; None when it names no known license."""
    if permissions is None:
        return None
    for element in permissions.iter():
        code = license_code_in(href_of(element))
        if code:
            return code
    return license_code_in(text_of(permissions))


def license_code_in(text: str) -> str | None:
    """License code named by a Creative Commons URL or by words; None when there is none."""
    url = _CC_URL.search(text)
    if url:
        return "CC0" if url["public"] else f"CC {url['code'].strip('-').upper()}"
    words = _CC_WORDS.search(text)
    if words is None:
        return None
    if words["zero"]:
        return "CC0"
    if words["code"]:
        return "CC " + re.sub(r"[ -]+", "-", words["code"].upper())
    spoken = re.sub(r"[\s–-]+", "", words["words"]).lower()
    return "-".join(["CC BY", *(code for word, code in _WORDS_TO_CODE if word in spoken)])


def license_override(permissions: etree._Element | None, *texts: str) -> str | None:
    """The wording that sets a figure apart from its article's license.

    Args:
        permissions: `<permissions>` of the figure or of its graphic.
        texts: caption, attribution and notes of the figure.
    Returns:
        The permission text, or the sentence that speaks of permission or copyright; None when nothing does.
    """
    if permissions is not None:
        return text_of(permissions) or None
    lowered = "\n".join(texts).lower()
    if not any(map(lowered.__contains__, _HINTS)):
        return None
    for text in texts:
        for sentence in _SENTENCE.split(text):
            if _OVERRIDE.search(sentence) and not _CONSENT.search(sentence):
                return sentence.strip()
    return None


def is_redistributable(override: str | None, article_license: str | None) -> bool | None:
    """Whether a figure may be passed on: by its own license where it has one, else by its article's.

    Returns:
        None when neither says anything that is known.
    """
    if override is not None:
        return license_code_in(override) is not None
    if license_group(article_license) is LicenseGroup.OTHER:
        return None
    return True
