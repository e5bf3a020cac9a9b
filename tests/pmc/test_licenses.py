"""Licenses as publishers write them: addresses, codes, names in words and languages, and their contradictions."""

from __future__ import annotations

import pytest

from biomedica_kedro.pmc.licenses import License, license_group, narrower, read_license
from biomedica_kedro.records import LicenseGroup

ADDRESSES = {
    "https://creativecommons.org/licenses/by%2Dnc/4.0/": None,
    "http://creativecommons.org/licenses/by/4.0/": "CC BY",
    "https://www.creativecommons.org/licenses/by-nc-nd/4.0/deed.en": "CC BY-NC-ND",
    "creativecommons.org/licenses/by-nd-nc/1.0": "CC BY-NC-ND",
    "http://creativecommons.org/licenses/by_nc_sa/4.0/": "CC BY-NC-SA",
    "http://creativecommons.org/licenses/by\u2010nc/4.0/": "CC BY-NC",
    "http://creativecommons.org/licenses/CC-BY/4.0": "CC BY",
    "http://creativecommons.org/licences/by/2.0/uk/": "CC BY",
    "https://creativecommons.org/license/by/3.0/igo/": "CC BY",
    "http://creativecommons.org/licenses/by/by-nc/4.0": "CC BY-NC",
    "http://creativecommons.org/licenses/by-nc-sa4.0": "CC BY-NC-SA",
    "http://creativecommons.org/licenses/by-sa-nd/4.0/": "CC BY-ND",
    "http://creativecommons.org/publicdomain/zero/1.0/": "CC0",
    "http://creativecommons.org/publicdomain/mark/1.0/": "CC0",
    "http://creativecommons.org/licenses/publicdomain/": "CC0",
    "http://creativecommons.org/about/cc0": "CC0",
    "http://creativecommons.org/licenses/sampling+/1.0/": None,
    "http://creativecommons.org/licenses/nc/1.0": None,
    "http://creativecommons.org/licenses/": None,
    "https://creativecommons.org/licenses/?lang=en": None,
    "http://www.elsevier.com/tdm/userlicense/1.0/": None,
}

CODES = {
    "Creative Commons (CC) BY 4.0": "CC BY",
    "CC: BY-NC": "CC BY-NC",
    "CC BY (NC)": "CC BY-NC",
    "CC BY-IGO": "CC BY",
    "licensed under CC BY\u2013NC 4.0": "CC BY-NC",
    "CC BY\u2011NC\u2011ND": "CC BY-NC-ND",
    "CC BY NC ND 4.0": "CC BY-NC-ND",
    "CC-BY-SA-NC": "CC BY-NC-SA",
    "CC BY 4.0 NC": "CC BY-NC",
    "a CC BY-licensed work": "CC BY",
    "under the CCBY license": "CC BY",
    "ccbyncndlicense": "CC BY-NC-ND",
    "cc0license": "CC0",
    "CC-0": "CC0",
    "Creative Commons BY 4.0": "CC BY",
    "Creative Commons BY-NC-ND 4.0": "CC BY-NC-ND",
    "BY-NC-ND 4.0": "CC BY-NC-ND",
    "CC BY-XX license": None,
    "TDM": None,
}

NAMES = {
    "Creative Commons 4.0 Attribution License": "CC BY",
    "Creative Commons Public Domain Declaration": "CC0",
    "Creative Commons Attribution Non Commercial (CC BY-NC 4.0) license": "CC BY-NC",
    "Creative Commons Attribution 3.0 Non-Commercial License": "CC BY-NC",
    "Creative Commons Attribution (CC BY-NC) license": "CC BY-NC",
    "Creative Commons Attribution (BY) NonCommercial (NC)": "CC BY-NC",
    "Creative Commons Attribution-Noncommercial-No Derivative Works 3.0": "CC BY-NC-ND",
    "Creative Commons Attribution\u2010NonCommercial\u2010ShareAlike": "CC BY-NC-SA",
    "Creative Commons Attribution-NonCommercial- NoDerivs": "CC BY-NC-ND",
    "Creative Commons License (Attribution 4.0 International)": "CC BY",
    "Creative Common Attribution License": "CC BY",
    "CC Attribution-NonCommercial 4.0": "CC BY-NC",
    "Creative Commons Non-Commercial License": None,
    "Creative Commons Zero": "CC0",
    "the Creative Commons CC0 public domain dedication": "CC0",
    "Licença Creative Commons Atribuição Não Comercial": "CC BY-NC",
    "licencia Creative Commons Reconocimiento-NoComercial-CompartirIgual": "CC BY-NC-SA",
    "sob uma licença Creative Commons": None,
    "All content is public domain unless otherwise noted": None,
    "All rights reserved.": None,
    "GNU General Public License": None,
}

CLAUSES = {
    "which does not permit commercial exploitation": "CC BY-NC",
    "provided it is not used for commercial purposes": "CC BY-NC",
    "provided it is not used commercially": "CC BY-NC",
    "commercial use is not permitted": "CC BY-NC",
    "for uses other than commercial use": "CC BY-NC",
    "which permits non\u2010commercial re-use": "CC BY-NC",
    ". For commercial re-use, please contact permissions@leaf.example": "CC BY-NC",
    "provided no modifications or adaptations are made": "CC BY-ND",
    "provided there is no commercial use": "CC BY-NC",
    ". The authors have no commercial interest": "CC BY",
    "for commercial and non-commercial purposes": "CC BY",
    "for both non-commercial and commercial use": "CC BY",
    "for any purpose, even commercially": "CC BY",
    "not only for noncommercial but for commercial purposes": "CC BY-NC",
    "and the creation of derivative works": "CC BY",
    ". All rights reserved. No commercial use is permitted unless otherwise expressly granted": "CC BY",
    "; parts are copyrighted by commercial organizations that may not be named": "CC BY",
}


@pytest.mark.parametrize(("text", "code"), [*ADDRESSES.items(), *CODES.items(), *NAMES.items()])
def test_license_is_what_address_code_or_name_say(text, code):
    assert read_license(text).code == code


@pytest.mark.parametrize(("clause", "code"), CLAUSES.items())
def test_clauses_beside_the_name_count(clause, code):
    assert read_license(f"Distributed under the Creative Commons Attribution License {clause}.").code == code


@pytest.mark.parametrize(
    ("address", "words", "code"),
    [
        ("http://creativecommons.org/licenses/by/4.0/", "Creative Commons Attribution-NonCommercial", "CC BY-NC"),
        ("http://creativecommons.org/licenses/by-nc-nd/4.0/", "CC BY", "CC BY-NC-ND"),
        ("http://creativecommons.org/licenses/by-nc/4.0/", "CC BY-ND", "CC BY-NC-ND"),
    ],
)
def test_contradiction_gives_the_narrower_license_and_a_warning(address, words, code):
    license_ = read_license(address, words)
    assert license_.code == code
    assert "address asks for" in license_.warning


def test_waiver_for_the_data_neither_widens_the_license_nor_warns():
    waiver = "The waiver (http://creativecommons.org/publicdomain/zero/1.0/) applies to the data."
    words = f"Creative Commons Attribution License. {waiver}"
    assert read_license("http://creativecommons.org/licenses/by/4.0/", words) == License("CC BY")


def test_unknown_address_makes_the_license_unknown_and_says_so():
    license_ = read_license("http://creativecommons.org/licenses/sampling/1.0/", "Creative Commons Attribution")
    assert license_.code is None
    assert "sampling" in license_.warning


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("CC0", LicenseGroup.COMMERCIAL),
        ("CC BY", LicenseGroup.COMMERCIAL),
        ("cc-by-sa", LicenseGroup.COMMERCIAL),
        ("CC BY ND", LicenseGroup.COMMERCIAL),
        ("CC BY-NC", LicenseGroup.NONCOMMERCIAL),
        ("CC BY-NC-SA", LicenseGroup.NONCOMMERCIAL),
        ("cc_by_nc_nd", LicenseGroup.NONCOMMERCIAL),
        ("TDM", LicenseGroup.OTHER),
        ("", LicenseGroup.OTHER),
        (None, LicenseGroup.OTHER),
        ("CC BY-XX", LicenseGroup.OTHER),
    ],
)
def test_license_group_is_derived_and_never_guessed(code, group):
    assert license_group(code) is group


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        ("CC BY", "CC BY-NC", "CC BY-NC"),
        ("CC0", "CC BY-SA", "CC BY-SA"),
        ("CC BY-SA", "CC BY-ND", "CC BY-ND"),
        ("TDM", "CC BY", None),
        (None, "CC BY", None),
    ],
)
def test_narrower_license_asks_for_what_both_ask_for(one, other, code):
    assert narrower(one, other) == narrower(other, one) == code
