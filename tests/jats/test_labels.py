"""How labels and texts name figures."""

from __future__ import annotations

import pytest

from biomedica_kedro.jats.labels import cited_labels, label_key, leading_key, spellings


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("Figure 2", ("fig", "", 2)),
        ("FIG. 2.", ("fig", "", 2)),
        ("Figura 2", ("fig", "", 2)),
        ("Fig. 2 | Flow of 3 steps", ("fig", "", 2)),
        ("Fig. 2 (colour online)", ("fig", "", 2)),
        ("(Color online) Fig. 2", ("fig", "", 2)),
        ("Figure 2 (b)", ("fig", "", 2)),
        ("Fig. 2C", ("fig", "", 2)),
        ("2.", ("fig", "", 2)),
        ("Fig. S2", ("fig", "s", 2)),
        ("Supplementary Figure 2", ("fig", "s", 2)),
        ("Extended Data Fig. 2", ("extended data fig", "", 2)),
        ("Box figure 2.", ("box fig", "", 2)),
        ("Figure 1.2", ("fig 1", "", 2)),
        ("Figure 1—figure supplement 2.", ("fig 1 figure supplement", "", 2)),
        ("Fig. IV", ("fig", "roman", 4)),
        ("Plate IX", ("plate", "roman", 9)),
        ("Graph 2", ("graph", "", 2)),
        ("Schemes 2", ("scheme", "", 2)),
        ("(a)", None),
        ("Graphical abstract", None),
    ],
)
def test_label_names_a_series_and_a_number(label, key):
    assert label_key(label) == key


def named(text, *labels):
    keys = [key for label in labels or ("Figure 1",) if (key := label_key(label))]
    return [f"{key[0]} {key[1]}{key[2]}" for key, _, _ in cited_labels(text, spellings(labels, keys))]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Figures 1 and 2 show", "1 2"),
        ("Figs. 1, 2 and 3", "1 2 3"),
        ("Figures 1 to 3", "1 2 3"),
        ("Figs 1–3, 5", "1 2 3 5"),
        ("(Fig. 1E, F, 2A-J)", "1 2"),
        ("(Figs. 1a-d and 2a–c)", "1 2"),
        ("Figure 1 & 2)", "1 2"),
        ("(Fig. 1, 2).", "1 2"),
        ("In Fig. 1, 12 mice", "1"),
        ("Figure 1 and 3 mice", "1"),
        ("(Figures 1–1000)", "1 1000"),
        ("Fig. 12 and Fig. 3", "12 3"),
        ("FIGS. 1, 2", "1 2"),
        ("Fig [1] and Fig. [2a] show", "1 2"),
        ("Fig. 1 through 3 were drawn", "1 2 3"),
        ("Figure 4 through Figure 6 show", "4 5 6 6"),
        ("Fig. 1 thru 3 were", "1 2 3"),
        ("Fig. 1-3 were", "1 2 3"),
        ("Fig. 1 to 3 mice", "1"),
        ("Figures 1, 2, & 3", "1 2 3"),
        ("Figs. 1 (left) and 3 (right panel)", "1 3"),
        ("Figs. 1, left, and 2, right", "1 2"),
        ("Fig. 1 (top) in 2 mice", "1"),
        ("Fig. No. 2 and Figure #3, Fig. (4)", "2 3 4"),
        ("Figure (12 of 20 mice)", ""),
    ],
)
def test_every_number_of_a_list_is_named(text, numbers):
    assert named(text) == [f"fig {number}" for number in numbers.split()]


def test_letters_go_with_their_numbers():
    assert named("Figs. S1 and S2, Figs S4–6") == ["fig s1", "fig s2", "fig s4", "fig s5", "fig s6"]
    assert named("Supplementary Figs. 1 and 2") == ["fig s1", "fig s2"]


@pytest.mark.parametrize(
    "text",
    [
        "Extended Data Fig. 1", "Suppl. Fig. 1", "Supporting Information Figure 1", "eFigure 1", "e-Fig. 1",
        "Additional file 3: Figure 1", "Figure 1 in Additional file 3", "Fig. 1 of ref. 12", "Figure 1 in [12]",
        "Fig. 1 in Smith et al. (2010)", "Fig. 1 of Lee and Wong 2012", "Smith et al. 2010, Fig. 1", "[12, Fig. 1]",
        "their Figure 1", "Fig. 1.2", "Figure 1—figure supplement 2", "Box Figure 1", "Figure 1st",
        "Fig. 1 of another work", "Additional files 1 and 2: Figures 1 and 2", "Fig. 1 of the accompanying paper",
        "Figure 1 in the review by Wong", "Appendix A Fig. 1", "Configure 1", "Figure 1 in the Supplementary Material",
        "Web Figure 1", "online Fig. 1", "On-line only Figure 1", "Web-only Fig. 1", "Online Resource Figure 1",
        "Online Resource 2, Fig. 1", "Internet Fig. 1", "ED Fig. 1", "ESM Fig. 1", "Expanded View Figure 1",
        "Web Extra Fig. 1", "Additional Figure 1", "Annex Figure 1", "Fig. 1 in the online supplement",
    ],
)  # fmt: skip
def test_other_series_and_works_are_no_figure_of_ours(text):
    assert "fig 1" not in named(f"See {text}.")


def test_words_are_those_of_the_articles_labels():
    assert named("Image 1 and Graph 2, Chart 3", "Image 1", "Graph 2") == ["graph 2", "image 1"]
    assert named("as in Fig. II and I", "Fig. I") == ["fig roman2"]
    assert named("Figs. I-III", "Fig. I") == ["fig roman1", "fig roman2", "fig roman3"]
    assert named("Figures 1, S1 and 2", "Fig. 1") == ["fig 1", "fig s1", "fig 2"]


def test_caption_that_begins_with_its_number():
    assert leading_key("Fig. 3. Axial CT.") == ("fig", "", 3)
    assert leading_key("Axial CT as in Fig. 3.") is None
