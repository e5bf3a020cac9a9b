"""Licenses: which Creative Commons license some markup and wording name, and what it allows.

The one reader for articles, packages and single figures. A license is what it asks for: BY, NC, ND, SA. Where an
address and words contradict each other, whatever any of them asks for holds; what is not understood is no license.
Source: creativecommons.org, forms of license addresses and names; BIOMEDICA section 2, license table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from biomedica_kedro.records import LicenseGroup

Terms = frozenset[str]
"""What a license asks for: of "by", "nc", "nd", "sa"; nothing is CC0."""

# What the parts of an address mean.
_TERMS = {term: term for term in ("by", "nc", "nd", "sa")} | dict.fromkeys(
    ("cc", "cc0", "zero", "mark", "publicdomain")
)

# All of these meet text in lower case with plain hyphens, see `_plain`.
_URL = re.compile(r"creativecommons\.org/+(?:licen[cs]es?|publicdomain|about(?=/+cc0))\b/*([a-z0-9+/%-]+)")
# Begins with letters, not with a boundary, which would be looked for at every place of a text.
_CODE = re.compile(
    r"cc(?<!\wcc)[\s-]*(?P<zero>(?:0|zero)(?:license)?\b)"
    r"|creative commons (?P<waiver>zero|0\b|public domain de(?:dic|clar)ation)"
    r"|c(?:c(?<!\wcc)|reative commons(?: \(cc)?)[)\s:(-]{0,3}by(?P<glued>(?:nc|nd|sa)*)(?:license)?\b"
    r"(?P<apart>(?:[\s,/(-]*(?:\d(?:\.\d)?[\s,/-]+)?\b(?:nc|nd|sa)\b)*)(?!-(?!licen|igo)[a-z])"
    r"|by(?<!\wby)(?P<bare>(?:-(?:nc|nd|sa)\b)+)"
)
_NAMED = re.compile(
    r"\b(?:creative[\s-]?commons?|cc)\b(?:[^.;]|\b\.\d){0,60}?\b(?:attribution|atribui\w\wo|atribuci\wn|reconocimiento|paternit\w|namensnennung)"
)
_USE = r" (?:re-?)?(?:use|exploit|purpose|gain|profit|distribut|reproduc|end)"
_NONCOMMERCIAL = re.compile(
    r"\bno[nt][\s-]?commerc(?<!commercial and non.commerc)(?<!commercial or non.commerc)"
    r"(?<!commercial and/or non.commerc)(?!\w*,? (?:and|or|and/or|as well as) commercial)"
    rf"|\bno commercial{_USE}(?![^.;]*\bunless\b)"
    r"|\bn(?:on?|\wo|icht)[\s-]?(?:comerc|kommerz)|\bpas d'utilisation commerc"
    r"|\b(?:not|neither|never|than)\b(?! (?:only|just|limited))[^.;]{0,60}?\bcommercial(?:ly\b|"
    rf"{_USE})|\bcommercial{_USE}[^.;]{{0,40}}?\b(?:not|prohibited|forbidden)\b"
    r"|\bfor commercial [^.;]{0,20}?\b(?:contact|permission)"
)
# Words that ask for more, in text without spaces and hyphens.
_ASKED = {
    "nd": (
        "noderiv", "nonderiv", "nomodif", "noadapt", "noalter", "withoutmodif", "withoutderiv", "semderiv", "sinderiv",
        "sinobraderiv", "sinobrasderiv", "keinebearbeitung", "pasdemodif",
    ),
    "sa": ("sharealike", "sharingalike", "compartirigual", "compartilhaigual", "partagedans", "weitergabeunter"),
}  # fmt: skip
_HYPHENS = re.compile("[_\u00ad\u2010-\u2015\u2212]")


@dataclass(frozen=True, slots=True)
class License:
    """A license as read.

    Attributes:
        code: "CC BY-NC", "CC0"; None when no known license is named.
        warning: what contradicts what; None when nothing does.
    """

    code: str | None = None
    warning: str | None = None


@lru_cache(maxsize=1024)
def read_license(*texts: str) -> License:
    """The license that some texts name together.

    Args:
        texts: addresses, attributes and wordings of one `<permissions>`, in any order.
    Returns:
        The narrowest license that fits them all; CC0 only where nothing asks for more.
    """
    text = _plain(" | ".join(texts))
    urls = {found[0]: _url_terms(found[1]) for found in _URL.finditer(text)}
    linked = frozenset[str]()
    for url, terms in urls.items():
        if terms is None:
            return License(None, f"an address of Creative Commons that names no known license: {url}")
        linked |= terms
    text = _URL.sub(" ", text)
    words = [_code_terms(found) for found in _CODE.finditer(text)]
    if _NAMED.search(text):
        words.append(frozenset({"by"}))
    if not urls and not words:
        return License()
    squeezed = text.replace(" ", "").replace("-", "")
    asked = {term for term, parts in _ASKED.items() if any(map(squeezed.__contains__, parts))}
    if "mer" in text and _NONCOMMERCIAL.search(text):
        asked.add("nc")
    stated = frozenset(asked).union(*words)
    code = code_of(linked | stated)
    if linked and stated and linked != stated:
        return License(code, f"the license's address asks for {_spoken(linked)}, its words for {_spoken(stated)}")
    return License(code)


def license_group(license_code: str | None) -> LicenseGroup:
    """The group that says what may be done with an article under a license.

    Args:
        license_code: PMC's code, e.g. "CC BY-NC"; case, spaces and hyphens do not matter; may be absent.
    Returns:
        OTHER for absent and unknown codes (TDM, author manuscripts): never guessed.
    """
    terms = terms_of(license_code)
    if terms is None:
        return LicenseGroup.OTHER
    return LicenseGroup.NONCOMMERCIAL if "nc" in terms else LicenseGroup.COMMERCIAL


def narrower(one: str | None, other: str | None) -> str | None:
    """The license that asks for what both ask for; None when one of them is not known."""
    terms, more = terms_of(one), terms_of(other)
    return None if terms is None or more is None else code_of(terms | more)


@lru_cache(maxsize=256)
def terms_of(code: str | None) -> Terms | None:
    """What a license code asks for; None when it is no code of a known license."""
    parts = re.split(r"[\s_-]+", (code or "").strip().lower())
    if parts in (["cc0"], ["cc", "0"]):
        return frozenset()
    terms = frozenset(parts[1:])
    return terms if parts[0] == "cc" and "by" in terms and code_of(terms) is not None else None


def code_of(terms: Terms) -> str | None:
    """PMC's code of what a license asks for; None when there is no such license. ND leaves SA nothing to say."""
    if not terms:
        return "CC0"
    if "by" not in terms or not terms <= _TERMS.keys():
        return None
    kept = terms - {"sa"} if "nd" in terms else terms
    return "CC " + "-".join(term.upper() for term in _TERMS if term in kept)


def _plain(text: str) -> str:
    """Lower case, one kind of hyphen and of space."""
    return " ".join(_HYPHENS.sub("-", text).lower().split())


def _url_terms(path: str) -> Terms | None:
    """Terms of what follows "licenses/": "by-nc/4.0/deed.en" asks for BY and NC; None for no known license."""
    terms: set[str] = set()
    is_known = False
    for segment in path.split("/"):
        parts = re.findall(r"cc0|[a-z+]+", segment)
        if not parts or not _TERMS.keys() >= set(parts):
            break
        is_known = True
        terms.update(filter(None, map(_TERMS.get, parts)))
    return frozenset(terms) if is_known and code_of(frozenset(terms)) else None


def _code_terms(found: re.Match[str]) -> Terms:
    if found["zero"] or found["waiver"]:
        return frozenset()
    said = "".join(found[name] or "" for name in ("glued", "apart", "bare"))
    return frozenset({"by", *re.findall("nc|nd|sa", said)})


def _spoken(terms: Terms) -> str:
    return "-".join(term.upper() for term in _TERMS if term in terms)
