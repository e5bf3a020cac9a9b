"""Texts and the walk over a tree: what they give, and that the compiled ones give the same as those in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from biomedica_kedro.jats import _tree_python, tags, tree
from biomedica_kedro.jats.parser import read_article
from tests.jats.conftest import NAMESPACES

PREAMBLE = r"\documentclass[12pt]{minimal} \usepackage{amsmath} \begin{document}$$x_2$$\end{document}"


@pytest.fixture(scope="module")
def compiled():
    if not shutil.which("cc"):
        pytest.skip("the machine has no C compiler")
    from biomedica_kedro.jats import _tree_compiled

    return _tree_compiled


@pytest.fixture(params=["python", "compiled"], scope="module")
def implementation(request):
    return _tree_python if request.param == "python" else request.getfixturevalue("compiled")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>CO<sub>2</sub>, Ca<sup>2+</sup>, NH<sub>4</sub><sup>+</sup>, m<sup>2</sup></p>", "CO2, Ca2+, NH4+, m2"),
        ("<p>5 × 10<sup>5</sup> to 10<sup>−3</sup>, 10<sup><italic>–</italic>7</sup></p>", "5 × 10^5 to 10^−3, 10^–7"),
        (
            "<p>2<sup>−ΔΔCt</sup>, the 4<sup>th</sup> 7<sup>a</sup> E2f1<sup>−/−</sup></p>",
            "2^−ΔΔCt, the 4th 7a E2f1−/−",
        ),
        (
            "<p>10<sup><italic>n</italic></sup> cells, 2<sup>k+1</sup>, the 2<sup>nd</sup>, Taar1<sup>m1J</sup></p>",
            "10^n cells, 2^k+1, the 2nd, Taar1m1J",
        ),
        ("<p>SO<sub>4</sub><sup>2−</sup>, H<sub>2</sub><sup>18</sup>O, 3<sub>10</sub></p>", "SO4^2−, H2^18O, 3_10"),
        ("<p>log<sub>2</sub>4, <sup>13</sup>C, x<sub>1</sub> 2</p>", "log2 4, 13C, x1 2"),
        (
            "<p>in 2010<xref>12</xref>, 2011<sup><xref>1</xref>,<xref>2</xref></sup>, 5<xref><sup>6</sup></xref></p>",
            "in 2010 12, 2011 1,2, 5 6",
        ),
        (
            "<p><mml:math>\n<mml:msup>\n<mml:mn>10</mml:mn>\n<mml:mrow><mml:mo>−</mml:mo><mml:mn>5</mml:mn></mml:mrow>"
            "</mml:msup></mml:math></p>",
            "10^−5",
        ),
        ("<p><mml:math><mml:mfrac><mml:mn>1</mml:mn><mml:mi>n</mml:mi></mml:mfrac></mml:math></p>", "1/n"),
        (
            "<p><mml:math><mml:munderover><mml:mo>∑</mml:mo><mml:mn>1</mml:mn><mml:mn>9</mml:mn></mml:munderover>"
            "<mml:msubsup><mml:mi>x</mml:mi><mml:mn>1</mml:mn><mml:mn>2</mml:mn></mml:msubsup></mml:math></p>",
            "∑1^9x1^2",
        ),
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
    ids=[
        "scripts",
        "powers",
        "letters and signs",
        "letters that stand for numbers",
        "one after another",
        "back on the line",
        "citations",
        "power in MathML",
        "fraction",
        "limits",
        "MathML",
        "LaTeX beside MathML",
        "LaTeX alone",
        "annotation",
        "break",
        "list",
        "wide spaces",
    ],
)
def test_text_as_a_reader_sees_it(implementation, markup, text):
    element = etree.fromstring(f"<r {NAMESPACES}>{markup}</r>")[0]
    assert implementation.text_of(element) == text


@example("a\u00a0\u2028 b")
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from(" \n\t\u00a0\u205f")))
def test_text_has_single_spaces_only(implementation, text):
    element = etree.Element("p")
    try:
        element.text = text
    except ValueError:  # no character of XML
        return
    assert implementation.text_of(element) == implementation.plain_text(element) == " ".join(text.split())


def facts(implementation, root):
    """Everything that an implementation says of an article."""
    walk = implementation.Walk(root)
    paragraphs = len(list(root.iter("p")))
    return {
        "texts": [(implementation.text_of(e), implementation.plain_text(e)) for e in root.iter()],
        "texts_by_tag": [implementation.texts_by_tag(e) for e in root.iter()],
        "children_by_tag": [implementation.children_by_tag(e) for e in root.iter()],
        "scopes": [(walk.scope(i), outer) for i, outer in enumerate(walk.outer)],
        "sub_articles": walk.sub_articles,
        "floats": walk.floats,
        "paragraphs": [walk.paragraph_text(i) for i in range(paragraphs)],
        "text_paragraphs": walk.text_paragraphs,
        "all xrefs": walk.xrefs({"F1", ""}, {"fig", ""}),
        "some xrefs": walk.xrefs({"F1"}, {"fig"}),
        "cited works": walk.cited_works,
    }


TEXTS = st.text("ab.15−+Δ \n\t\u00a0\u2009\u3000é–\U0001d4d0<&", max_size=40).map(
    lambda text: text.replace("&", "&amp;").replace("<", "&lt;")
)
NAMES = st.sampled_from(
    sorted(
        {name for name in tags.SCOPES | tags.BLOCKS | tags.APART_FROM_PARAGRAPH | tags.FLOATS if name[0] != "{"}
        | {
            "mml:math",
            "mml:mi",
            "mml:annotation",
            "mml:msup",
            "mml:msubsup",
            "mml:mfrac",
            "mml:mrow",
            "sup",
            "sub",
            "tex-math",
            "italic",
            "xref",
            "ref",
            "pub-id",
            "ext-link",
            "name",
        }
        | {tags.WRITTEN_CITATION, *tags.CITATIONS_IN_PARTS}
    )
)
ATTRIBUTES = st.sampled_from(
    ["", 'id="F1"', 'rid="F1"', 'rid="F1 F2" ref-type="fig"', 'rid="B1" ref-type="bibr"', 'pub-id-type="pmid"',
     'pub-id-type="doi" xlink:href="https://doi.org/10.1000/x"', 'pub-id-type="" ext-link-type="pmid"', 'rid="a&amp;b"']
)  # fmt: skip
NODES = st.recursive(
    TEXTS | TEXTS.map(lambda text: f"<![CDATA[{text}]]>") | st.just("10.1000/x"),
    lambda inner: st.builds(
        lambda name, attributes, children: f"<{name} {attributes}>{''.join(children)}</{name}>",
        NAMES, ATTRIBUTES, st.lists(inner, max_size=5),
    ),
    max_leaves=30,
)  # fmt: skip


@given(st.lists(NODES, max_size=6))
def test_compiled_and_python_agree_on_any_tree(compiled, nodes):
    root = read_article(f"<article {NAMESPACES}>{''.join(nodes)}</article>".encode()).root
    assert facts(compiled, root) == facts(_tree_python, root)


def test_compiled_and_python_agree_on_real_articles(compiled, shared_data):
    # The largest and smallest, and every 40th of those between; benchmarks/walk_safety.py covers all.
    by_size = sorted((shared_data / "jats" / "xml").iterdir(), key=lambda path: path.stat().st_size)
    paths = [*by_size[:2], *by_size[2:-1:40], by_size[-1]]
    for path in paths:
        root = read_article(path.read_bytes()).root
        assert facts(compiled, root) == facts(_tree_python, root), path.name
    assert paths


def test_compiled_refuses_what_is_no_index(compiled):
    walk = compiled.Walk(etree.fromstring("<article><p/></article>"))
    with pytest.raises(IndexError):
        walk.scope(1)
    with pytest.raises(IndexError):
        walk.paragraph_text(1)


def test_python_is_used_on_request(compiled):
    assert tree.IS_COMPILED
    script = "from biomedica_kedro.jats import tree; print(tree.IS_COMPILED, tree.Walk.__module__)"
    environment = {**os.environ, "BIOMEDICA_NO_EXTENSIONS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "biomedica_kedro.jats._tree_python"]


def test_build_of_another_source_is_not_used(compiled):
    assert tree.WALK_IDENTITY.startswith("compiled-")
    script = (
        "import importlib; from biomedica_kedro.jats import _tree_compiled, tree; "
        "_tree_compiled.SOURCE_DIGEST = 'old'; importlib.reload(tree); "
        "print(tree.IS_COMPILED, tree.WALK_IDENTITY, tree.Walk.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    is_compiled, identity, module = done.stdout.split()
    assert (is_compiled, identity[:7], module) == ("False", "python-", "biomedica_kedro.jats._tree_python")
    assert "is not used" in done.stderr


def test_defaults_that_a_document_type_declares_count(compiled):
    xml = b"""<!DOCTYPE article [<!ATTLIST xref ref-type CDATA "fig">]>
        <article><p><xref>Figure 1</xref><xref rid="B1"/></p><ref><pub-id>10.1000/x</pub-id></ref></article>"""
    root = read_article(xml).root
    assert len(compiled.Walk(root).xrefs(set(), {"fig"})) == 2
    assert facts(compiled, root) == facts(_tree_python, root)
