"""Text: white space, formulas, blocks."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from biomedica_kedro.jats.text import clean, plain_text, text_of

MML = "xmlns:mml='http://www.w3.org/1998/Math/MathML'"
PREAMBLE = r"\documentclass[12pt]{minimal} \usepackage{amsmath} \begin{document}$$x_2$$\end{document}"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>CO<sub>2</sub> at 10<sup>−3</sup></p>", "CO2 at 10−3"),
        ("<p>a<mml:math><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mn>1</mml:mn></mml:math>b</p>", "ax=1b"),
        (
            f"<p>a<alternatives><tex-math>{PREAMBLE}</tex-math><mml:math><mml:mi>y</mml:mi></mml:math></alternatives></p>",
            "ay",
        ),
        (f"<p>a <inline-formula><tex-math>{PREAMBLE}</tex-math></inline-formula></p>", "a x_2"),
        (
            "<p><mml:math><mml:semantics><mml:mi>x</mml:mi><mml:annotation>\\x</mml:annotation>"
            "</mml:semantics></mml:math></p>",
            "x",
        ),
        ("<p>one<break/>two</p>", "one two"),
        (
            "<p>one<list><list-item><p>two</p></list-item><list-item><p>three</p></list-item></list></p>",
            "one two three",
        ),
        ("<p>1\u00a0µm\u2009×\n\t 2</p>", "1 µm × 2"),
    ],
    ids=["scripts", "MathML", "LaTeX beside MathML", "LaTeX alone", "annotation", "break", "list", "wide spaces"],
)
def test_text_as_a_reader_sees_it(markup, text):
    assert text_of(etree.fromstring(markup.replace("<p>", f"<p {MML}>", 1))) == text


@example("a\rb")
@given(st.text(alphabet=" \n\t\r\u00a0\u2009abcé–"))
def test_clean_text_has_single_spaces_only(text):
    assert clean(text) == " ".join(text.split())


@given(st.lists(st.text(alphabet="ab \n–", max_size=5), min_size=1, max_size=6))
def test_fast_and_thorough_way_agree_on_plain_markup(pieces):
    element = etree.fromstring("<p>" + "".join(f"<i>{piece}</i>" for piece in pieces) + "</p>")
    assert plain_text(element) == text_of(element)
