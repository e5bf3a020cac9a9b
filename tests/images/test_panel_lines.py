import numpy as np
import pytest

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_lines import Counts, GapKind, Lines, Scene, packed, page_tone, runs


def textured(height: int = 60, width: int = 100, seed: int = 0) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(60, 180, (height // 4, width // 4))
    return np.kron(rough, np.ones((4, 4))).astype(np.uint8)


def gaps_of(gray: np.ndarray) -> list[tuple[GapKind, int, int]]:
    found = Lines(gray, 255).gaps(0, gray.shape[0], 0, gray.shape[1])
    return [(gap.kind, gap.start, gap.end) for gap in found]


@pytest.mark.parametrize("tone", [0, 128, 255])
def test_gutters_of_any_tone_are_found(tone: int):
    gray = textured()
    gray[:, 40:46] = tone

    assert (GapKind.GUTTER, 40, 46) in gaps_of(gray)


def test_line_of_one_pixel_is_found_although_soft():
    gray = textured().astype(int)
    gray[:, 50] += 70

    assert (GapKind.RIDGE, 50, 51) in gaps_of(gray.clip(0, 255).astype(np.uint8))


def test_panels_that_touch_are_told_by_the_step_between_them():
    gray = np.repeat(np.random.default_rng(0).integers(20, 120, (60, 1)), 100, axis=1).astype(np.uint8)
    gray[:, 50:] += 100

    assert (GapKind.STEP, 50, 50) in gaps_of(gray)


@pytest.mark.parametrize("n_pixels", [1, 63, 64, 65, 300])
def test_pixels_are_counted_up_to_any_place(n_pixels: int):
    masks = np.random.default_rng(n_pixels).random((2, 7, n_pixels)) < 0.3

    padded = np.zeros((2, 7, 64 * (n_pixels // 64 + 1)), np.bool_)
    padded[..., :n_pixels] = masks

    counted = Counts(np.stack([packed(mask) for mask in padded]))

    assert all(np.array_equal(counted.before(place), masks[..., :place].sum(axis=2)) for place in range(n_pixels + 1))


def test_region_too_small_to_be_cut_has_no_gaps():
    assert Lines(textured(), 255).gaps(0, 4, 0, 100) == []


def test_blank_lines_around_a_region_are_trimmed():
    page = np.full((60, 80), 255, np.uint8)
    page[10:30, 20:70] = textured(20, 52)[:, :50]

    assert Scene(page).trimmed(Box(0, 0, 60, 80)) == Box(10, 20, 30, 70)


def test_blank_region_is_kept():
    assert Scene(np.full((60, 80), 255, np.uint8)).trimmed(Box(5, 5, 50, 50)) == Box(5, 5, 50, 50)


@pytest.mark.parametrize(("border", "tone"), [(0, 0), (190, 190), (255, 255)])
def test_page_has_the_tone_of_the_border(border: int, tone: int):
    gray = np.full((40, 40), border, np.uint8)
    gray[5:35, 5:35] = textured(32, 32)[:30, :30]

    assert page_tone(gray) == tone


def test_runs_are_given_by_first_and_past_last():
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
