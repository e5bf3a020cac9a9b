"""Figures that the license of their article does not cover."""

from __future__ import annotations

import pytest

CC_BY = "<permissions><license xlink:href='http://creativecommons.org/licenses/by/4.0/'/></permissions>"


def figure_with(parse, content: str, front: str = CC_BY):
    return parse(f"<fig id='F'>{content}</fig>", front=front).figures[0]


@pytest.mark.parametrize(
    "words",
    [
        "Reprinted with permission from [50].",
        "Adapted from Roe et al., with kind permission of Springer.",
        "Reproduced by permission of the Leaf Society.",
        "© 1977 Leaf Press.",
        "Copyright 2013 Leaf Chemical Society.",
        "All rights reserved.",
        "(c) 2004 Leaf Press.",
        "Reproduced from Roe et al. with permission.",
        "Reprinted from ref. 12, with permission.",
        "From Roe A. et al., J Leaf. 2003, with kind permission.",
        "Taken from [7] by permission.",
        "Used under license from Leafstock.",
        "Photograph licensed from the Leaf Agency.",
        "Permission granted by Leaf Press.",
        "Permission to reproduce was granted by Leaf Press.",
        "With permission of the publisher, and consent of the patient.",
        "The drawing is copyrighted by Leaf Press.",
        "Reprinted with permission from Patient Education in Botany.",
        "Reproduced with permission from the Ministry of Leaves.",
        "Reproduced with permission from the hospital.",
        "Used with permission from the Leaf Clinic.",
        "Reprinted from [12].",
        "Re-printed from (Roe, 2010).",
        "Republished from Roe and Doe.",
        "Leafstock images, used under licence.",
    ],
)
def test_wording_in_the_caption_sets_a_figure_apart(parse, words):
    figure = figure_with(parse, f"<caption><p>Growth of leaves. {words} Bars, 1 mm.</p></caption>")
    assert (figure.license_override, figure.redistributable) == (words, False)


@pytest.mark.parametrize(
    "words",
    [
        "Growth of leaves (c) and roots.",
        "Published with permission of the patient.",
        "Photograph reproduced with the patient's written permission.",
        "Shown with permission granted by the parents.",
        "Reproduced with permission from her.",
        "Permission to publish the image was obtained from the patient.",
        "Volunteers with melanoma who gave permission are shown.",
        "Reproduced from three cultures.",
        "Specimens were taken with permission from the ethics committee.",
        "Data were collected with permission from the hospital.",
        "With permission of the local district hospital, records were read.",
        "Pupils took part with the permission of their schools.",
        "Leaves were collected with permission of the national park authorities.",
        "The findings were reproduced from three cultures.",
        "The drug is licensed for adults.",
        "Membrane permission was not measured; permeability was.",
        "Membranes are permissive.",
        "Shown with the permission of the individual depicted.",
    ],
)
def test_other_wording_does_not(parse, words):
    figure = figure_with(parse, f"<caption><p>{words}</p></caption>")
    assert (figure.license_override, figure.redistributable) == (None, True)


def test_permissions_of_a_figure_count(parse):
    figure = figure_with(
        parse,
        "<permissions><copyright-statement>© 1977 Leaf Press</copyright-statement><license><license-p>Used "
        "with permission."
        "</license-p></license></permissions>",
    )
    assert figure.license_override == "© 1977 Leaf Press Used with permission."
    assert figure.redistributable is False


def test_a_figures_own_open_license_makes_it_free(parse):
    figure = figure_with(
        parse,
        "<permissions><license xlink:href='x'><license-p>CC BY-SA 3.0</license-p></license></permissions>",
        front="",
    )
    assert figure.redistributable is True


@pytest.mark.parametrize(
    ("address", "redistributable"),
    [("https://creativecommons.org/licenses/by-nc/4.0/", True), ("https://leaf.example/terms", False)],
)
def test_a_figures_own_license_counts_by_its_address(parse, address, redistributable):
    license_ = f"<license xlink:href='{address}'><license-p>See there.</license-p></license>"
    figure = figure_with(
        parse, f"<permissions><copyright-statement>© Roe</copyright-statement>{license_}</permissions>"
    )
    assert figure.license_override.startswith("© Roe See there.")
    assert figure.redistributable is redistributable


def test_a_figures_own_terms_count_by_their_address_alone(parse):
    figure = figure_with(parse, "<permissions><license xlink:href='https://leaf.example/terms'/></permissions>")
    assert (figure.license_override, figure.redistributable) == ("https://leaf.example/terms", False)


def test_permission_under_an_open_license_is_free(parse):
    words = "Reprinted from [1] under a CC BY license, with permission from Roe, original copyright 2014."
    assert figure_with(parse, f"<caption><p>{words}</p></caption>").redistributable is True


def test_without_a_known_license_nothing_is_said(parse):
    assert figure_with(parse, "", front="").redistributable is None


def test_attribution_counts_too(parse):
    assert (
        figure_with(parse, "<attrib>Courtesy of A. Roe, with permission from Leaf Press.</attrib>").redistributable
        is False
    )
