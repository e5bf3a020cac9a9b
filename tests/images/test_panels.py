import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from biomedica_kedro.images.panels import PanelOptions, panel_row, read_panels

OPTIONS = PanelOptions()


def texture(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(40, 200, (height, width, 3))
    return Image.fromarray(noise.astype(np.uint8))


def compose(
    rows: int,
    columns: int,
    *,
    letters: bool = True,
    gap: int = 8,
    cell: int = 150,
    names: str = "ABCDEFGH",
    size: int = 14,
) -> Image.Image:
    margin = size + 4 if letters else gap
    page = Image.new("RGB", (columns * (cell + gap) + gap, rows * (cell + margin) + gap), "white")
    draw = ImageDraw.Draw(page)
    for i in range(rows * columns):
        left, top = gap + i % columns * (cell + gap), margin + i // columns * (cell + margin)
        page.paste(texture(cell, cell, i), (left, top))
        if letters:
            draw.text((left, top - margin), names[i], fill="black", font=ImageFont.load_default(size))
    return page


def line_plot() -> Image.Image:
    plot = Image.new("RGB", (300, 240), "white")
    draw = ImageDraw.Draw(plot)
    draw.line([(40, 20), (40, 200), (280, 200)], fill="black", width=2)
    draw.line([(40 + x, 150 - x // 3) for x in range(0, 240, 8)], fill="red", width=2)
    draw.text((120, 215), "age (years)", fill="black")
    draw.text((130, 2), "Growth", fill="black")
    return plot


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 2), (1, 3), (3, 1), (2, 3)])
def test_composed_figure_is_split_into_its_panels(rows: int, columns: int):
    reading = read_panels(compose(rows, columns), "", OPTIONS)

    assert reading.is_multiple and reading.score > 0.8
    assert len(reading.boxes) == rows * columns
    first = reading.boxes[0]
    assert abs(first.left - 8) < 8 and abs(first.right - 158) < 8 and abs(first.bottom - 168) < 8


@pytest.mark.parametrize(
    "image",
    [texture(300, 200), line_plot(), Image.new("RGB", (50, 50), "white"), Image.new("RGB", (50, 50)),
     texture(3000, 8), texture(1, 1), Image.new("RGB", (4000, 2), "white")],
    ids=["photograph", "plot", "blank", "black", "wide strip", "one pixel", "hairline"],
)  # fmt: skip
def test_single_panels_stay_whole(image: Image.Image):
    reading = read_panels(image, "A picture.", OPTIONS)

    assert not reading.is_multiple
    assert [(box.left, box.top, box.right, box.bottom) for box in reading.boxes] == [(0, 0, *image.size)]


def test_parts_of_the_caption_go_to_the_panels_in_reading_order():
    reading = read_panels(compose(2, 2), "Cells. (A) Red. (B) Green. (C) Blue. (D) All.", OPTIONS)

    places = [(box.top > 100, box.left > 100) for box in reading.boxes]
    assert places == [(False, False), (False, True), (True, False), (True, True)]
    assert [part.text for part in reading.captions if part] == ["Red", "Green", "Blue", "All"]


def test_words_go_to_the_panels_whose_letter_they_name():
    reading = read_panels(
        compose(2, 2, names="ACBD", gap=16, size=24), "(A) Red. (B) Green. (C) Blue. (D) All.", OPTIONS
    )

    assert [part.letter for part in reading.captions if part] == ["A", "C", "B", "D"]
    assert [part.text for part in reading.captions if part] == ["Red", "Blue", "Green", "All"]


def test_letters_and_panels_that_differ_in_number_are_not_matched():
    reading = read_panels(compose(1, 2), "(A) Red. (B) Green. (C) Blue.", OPTIONS)

    assert reading.captions == (None, None)


def test_boxes_are_in_pixels_of_the_original_whatever_its_size():
    small, large = compose(1, 2), compose(1, 2, gap=40, cell=900)

    last = [read_panels(image, "", OPTIONS).boxes[-1] for image in (small, large)]

    assert last[1].right > 1800 and last[0].right < 330


def test_words_that_panels_share_can_be_put_before_their_own():
    apart, prepended = (
        read_panels(compose(1, 2), "Cells. (A) Red. (B) Green.", PanelOptions(shared_words=place))
        for place in ("apart", "prepended")
    )

    assert [part.text for part in apart.captions if part] == ["Red", "Green"]
    assert [part.text for part in prepended.captions if part] == ["Cells. Red", "Cells. Green"]
    assert panel_row("k", apart)["shared_caption"] == panel_row("k", prepended)["shared_caption"] == "Cells."


def test_row_holds_boxes_and_words_of_each_panel():
    row = panel_row("k", read_panels(compose(1, 2), "(A) Red. (B) Green.", OPTIONS))

    assert (row["key"], row["is_multiple"], row["n_panels"]) == ("k", True, 2)
    assert [(panel["letter"], panel["caption"]) for panel in row["panels"]] == [("A", "Red"), ("B", "Green")]
