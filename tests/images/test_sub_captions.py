import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.images.sub_captions import split_caption


def letters_of(caption: str) -> str:
    return " ".join(part.letter for part in split_caption(caption).parts)


def words_of(caption: str) -> dict[str, str]:
    return {part.letter: part.text for part in split_caption(caption).parts}


@pytest.mark.parametrize(
    ("caption", "letters"),
    [
        pytest.param("(A) One. (B) Two.", "A B", id="round brackets"),
        pytest.param("[A] One. [B] Two.", "A B", id="square brackets"),
        pytest.param("A) One B) Two", "A B", id="half brackets"),
        pytest.param("a) one; b) two", "a b", id="small half brackets"),
        pytest.param("Overview. A, One. B, Two. C, Three.", "A B C", id="commas"),
        pytest.param("Overview. A. One. B. Two.", "A B", id="full stops"),
        pytest.param("Overview: A: one, B: two", "A B", id="colons"),
        pytest.param("Two forms. a Early form. b Late form", "a b", id="small letters without marks"),
        pytest.param("Wings: A dorsal B ventral, lateral C view, D head", "A B C D", id="capitals without marks"),
        pytest.param("(A-C) Many. (D) One.", "A B C D", id="range"),
        pytest.param("(a to c): many; (d & e): two", "a b c d e", id="range in a word"),
        pytest.param("(A~C) Many. (D) One.", "A B C D", id="range with a tilde"),
        pytest.param("A and B: Two. C–E: More.", "A B C D E", id="bare lists"),
        pytest.param("(a, b) Two. (c, d, and e) More.", "a b c d e", id="list with a comma before and"),
        pytest.param("(A) One. (B) Two. (C, d, and e) More.", "A B C D E", id="list in two cases"),
        pytest.param("A, D and G: One. B, E and H: Two. C, F, I: Three.", "A B C D E F G H I", id="every third"),
        pytest.param("Early stages(a) and late stages(b).", "a b", id="glued brackets"),
        pytest.param("Human tissuesA) One. B) Two.", "A B", id="glued half bracket"),
        pytest.param("Scans.(A)One and (B) two.", "A B", id="no space after the mark"),
        pytest.param("Nodule (A, arrow) and nodes (B, arrow).", "A B", id="arrow in the mark"),
        pytest.param("Stain (PSA; image A) and (PAP; image B).", "A B", id="words before the label"),
        pytest.param("Scan (upper panel, A) and drawing (left B).", "A B", id="places before the label"),
        pytest.param("a (Top): One. b (Bottom): Two.", "a b", id="place after the label"),
        pytest.param("Panels A and B show cells. Panel C shows none.", "A B C", id="panels by name"),
        pytest.param("Views (a: front; b: back)", "a b", id="one bracket around all"),
        pytest.param("A: One. B: Two. (i) First. (ii) Second.", "A B", id="roman numerals within letters"),
        pytest.param("(i) First. (ii) Second. (iii) Third.", "i ii iii", id="roman numerals"),
        pytest.param("(A) One. (B1) Two. (B2) Three. (C) Four.", "A B1 B2 C", id="two signs"),
        pytest.param("A, One. B, dorsal (B1), ventral (B2). C, Four.", "A B C", id="parts of a panel"),
        pytest.param("Adults. 7A Body, dorsal 7B Head, front 7C Wing", "A B C", id="the figure's number before"),
        pytest.param("Terminalia. 6 Seventh sternum 7 Eighth sternum 8 Capsule", "6 7 8", id="numbers"),
        pytest.param("(A) 1. (B) 2. (C) 3. (D) 4. (F) 6. (G) 7.", "A B C D F G", id="skipped label"),
        pytest.param("Lymph nodes (B) and spleen (C).", "B C", id="first label missing"),
        pytest.param("A) Bur (a), ring (b), pin (c). B) Base (a), shaft (b), tip (c).", "A B", id="letters within"),
        pytest.param("(A) H&E stain. (B) Second. (C) PAS. (D) IHC.", "A B C D", id="a stain is no list"),
        pytest.param("(A) Growth at 37 °C. (B) Growth.", "A B", id="degrees"),
        pytest.param("Effect of vitamin A and B. No panels here.", "", id="vitamins"),
        pytest.param("Normal (N), serous (S) and poor (P) tumors.", "", id="abbreviations"),
        pytest.param("Cells (n = 3) and (i) more.", "", id="counts"),
        pytest.param("See Figure 1A. Figure 1B is new.", "", id="references to figures"),
        pytest.param("Mice at E11.5 (A) and E13.5 (B).", "A B", id="days"),
        pytest.param("(C–A) Backwards. (A) One.", "", id="backwards"),
        pytest.param("", "", id="empty"),
    ],
)
def test_panel_letters_are_found(caption: str, letters: str):
    assert letters_of(caption) == letters


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        pytest.param("(A) Red. (B) Green.", {"A": "Red", "B": "Green"}, id="before the words"),
        pytest.param("Red cells (a) and green cells (b).", {"a": "Red cells", "b": "and green cells"}, id="after them"),
        pytest.param(
            "(a) H&E. Probes with antisense (b) and sense (c) strands.",
            {"a": "H&E", "b": "Probes with antisense", "c": "and sense strands"},
            id="before and after",
        ),
        pytest.param(
            "Slices. (A, C) Before. (B, D) After.",
            {"A": "Before", "B": "After", "C": "Before", "D": "After"},
            id="shared marks",
        ),
        pytest.param(
            "A and B: Spleen. C: Liver. A: low; B: high.",
            {"A": "Spleen low", "B": "Spleen high", "C": "Liver"},
            id="several places",
        ),
    ],
)
def test_each_panel_gets_its_words(caption: str, words: dict[str, str]):
    assert words_of(caption) == words


def test_title_and_closing_remarks_are_shared_by_all_panels():
    split = split_caption("Growth of cells. (A) Red. Twice. (B) Green. Much of it. Scale bars: 10 µm.")

    assert split.shared == "Growth of cells. Scale bars: 10 µm."
    assert [part.text for part in split.with_shared().parts] == [
        "Growth of cells. Scale bars: 10 µm. Red. Twice",
        "Growth of cells. Scale bars: 10 µm. Green. Much of it",
    ]


def test_caption_without_panels_is_shared_as_a_whole():
    split = split_caption(" Growth of cells. ")

    assert (split.shared, split.parts) == ("Growth of cells.", ())


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="AaBbCci1(),.:;– xyz", max_size=80))
def test_words_of_parts_are_words_of_the_caption(caption: str):
    split = split_caption(caption)

    assert len(split.parts) != 1
    assert len({part.letter for part in split.parts}) == len(split.parts)
    for word in " ".join([split.shared, *(part.text for part in split.parts)]).split():
        assert word in caption
