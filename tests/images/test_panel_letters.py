import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from biomedica_kedro.images.panel_letters import find_letters


def page(*texts: tuple[tuple[int, int], str], ink: int = 0, paper: int = 255) -> np.ndarray:
    image = Image.new("L", (300, 200), paper)
    for place, text in texts:
        ImageDraw.Draw(image).text(place, text, fill=ink, font=ImageFont.load_default(20))
    return np.asarray(image)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 40)], ids=["dark", "bright"])
def test_lone_letters_are_found_where_they_stand(ink: int, paper: int):
    found = find_letters(page(((10, 10), "A"), ((150, 10), "B"), ((10, 100), "C"), ink=ink, paper=paper), "ABC")

    assert sorted(found) == ["A", "B", "C"]
    assert found["A"].left < 30 and found["B"].left > 140 and found["C"].top > 90


def test_case_does_not_matter():
    assert list(find_letters(page(((10, 10), "B")), "b")) == ["b"]


def test_letters_within_words_are_none():
    assert find_letters(page(((10, 10), "BREAD")), "BD") == {}


def test_letters_that_are_not_there_are_not_found():
    assert find_letters(page(((10, 10), "A")), "K") == {}


@pytest.mark.parametrize("wanted", [["i", "ii"], ["B1"], []], ids=["roman", "two signs", "none"])
def test_labels_of_several_signs_are_not_looked_for(wanted: list[str]):
    assert set(find_letters(page(((10, 10), "A")), wanted)) <= {"i"}


def test_blank_image_has_no_letters():
    assert find_letters(np.full((50, 50), 128, np.uint8), "AB") == {}
