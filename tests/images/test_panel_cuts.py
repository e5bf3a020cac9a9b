import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_cuts import Cutting, Letters, take_apart


def textured(height: int, width: int, seed: int, low: int = 60, high: int = 180) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(low, high, (-(-height // 6), -(-width // 6)))
    return np.kron(rough, np.ones((6, 6)))[:height, :width].astype(np.uint8)


def grid(rows: int, columns: int, gutter: int, tone: int = 255, cell: int = 130) -> tuple[np.ndarray, list[Box]]:
    side = cell + gutter
    page = np.full((rows * side - gutter, columns * side - gutter), tone, np.uint8)
    boxes = []
    for i in range(rows * columns):
        top, left = i // columns * side, i % columns * side
        page[top : top + cell, left : left + cell] = textured(cell, cell, i, 20 + 50 * (i % 3), 70 + 60 * (i % 3))
        boxes.append(Box(top, left, top + cell, left + cell))
    return page, boxes


@pytest.mark.parametrize("tone", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("gutter", [1, 2, 6])
@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 1), (2, 2), (2, 3)])
def test_panels_are_found_along_narrow_gutters(rows: int, columns: int, gutter: int, tone: int):
    page, boxes = grid(rows, columns, gutter, tone)

    pieces = take_apart(page, 1.0, rows * columns)

    assert len(pieces.boxes) == len(boxes)
    for found, true in zip(sorted(pieces.boxes), boxes, strict=True):
        assert max(abs(found.top - true.top), abs(found.left - true.left), abs(found.right - true.right)) <= 3


def test_panels_that_touch_are_taken_apart():
    page, boxes = grid(1, 2, 0)

    assert sorted(take_apart(page, 1.0, 2).boxes) == boxes


def test_image_of_one_texture_stays_whole():
    pieces = take_apart(textured(200, 300, 0), 1.0, 0)

    assert len(pieces.boxes) == 1 and pieces.probability < 0.5


def test_high_threshold_leaves_unsure_figures_whole():
    page, _ = grid(1, 2, 2)

    assert len(take_apart(page, 1.0, 0, threshold=0.99999).boxes) == 1


def test_region_with_one_letter_is_not_cut_any_further():
    page, boxes = grid(2, 2, 6)
    letters = [Box(b.top + 2, b.left + 2, b.top + 12, b.left + 12) for b in (boxes[0], boxes[2])]

    pieces = take_apart(page, 1.0, 2, letters=Letters(tuple(letters), are_all=True))

    assert [(box.top, box.width) for box in sorted(pieces.boxes)] == [(0, page.shape[1]), (136, page.shape[1])]


def test_line_of_text_is_no_row_of_panels():
    line = np.full((24, 400), 255, np.uint8)
    for left in (0, 150, 300):
        line[2:22, left : left + 90] = textured(20, 90, left)

    assert len(take_apart(line, 1.0, 0).boxes) == 1


def test_image_cut_again_with_letters_is_cut_as_if_for_the_first_time():
    page, boxes = grid(2, 2, 6)
    letters = Letters(tuple(Box(b.top + 2, b.left + 2, b.top + 12, b.left + 12) for b in boxes), are_all=True)
    cutting = Cutting(page, 1.0, 4)

    again = [cutting.pieces(), cutting.pieces(letters=letters), cutting.pieces()]

    assert again == [take_apart(page, 1.0, 4), take_apart(page, 1.0, 4, letters=letters), take_apart(page, 1.0, 4)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 5))
def test_any_image_is_read_and_boxes_lie_within(height: int, width: int, tone: int, letters: int):
    gray = np.full((height, width), tone, np.uint8)
    gray[: height // 2, : width // 2] = 255 - tone

    for box in take_apart(gray, 1.0, letters).boxes:
        assert 0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width
