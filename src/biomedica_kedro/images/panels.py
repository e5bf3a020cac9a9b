"""Compound figures: does an image show several panels, where do they lie, and which words are whose.

Boxes come from cuts that a small network judges (`panel_cuts`), words from the marks of the caption (`sub_captions`);
the number of letters that the caption names helps to decide where to stop cutting. It answers for each image what
BIOMEDICA answers for whole clusters. Another detector can take the place of the cuts (`panel_detectors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from biomedica_kedro.images.boxes import Box, LetteredBox, in_reading_order
from biomedica_kedro.images.panel_cuts import Cutting, Letters, Pieces
from biomedica_kedro.images.panel_letters import find_letters
from biomedica_kedro.images.panel_lines import Gray
from biomedica_kedro.images.sub_captions import SplitCaption, SubCaption, split_caption
from biomedica_kedro.records import Options

IMAGE_PANELS = pa.schema(
    [
        ("key", pa.string()),
        ("is_multiple", pa.bool_()),
        ("score", pa.float32()),
        ("n_panels", pa.int32()),
        ("shared_caption", pa.string()),
        ("corrected_by", pa.string()),
        (
            "panels",
            pa.list_(
                pa.struct(
                    [
                        ("left", pa.int32()),
                        ("top", pa.int32()),
                        ("right", pa.int32()),
                        ("bottom", pa.int32()),
                        ("letter", pa.string()),
                        ("caption", pa.string()),
                    ]
                )
            ),
        ),
    ]
)

WORKING_SIZE = 480  # pixels of the long side at which the network of `panel_cuts` was trained


class PanelOptions(Options):
    """What counts as a panel.

    Attributes:
        working_size: longest side in pixels at which panels are looked for.
        threshold: probability from which an image counts as multiple; a higher one names fewer and surer ones, see
            benchmarks/results/panels.md for the precision of each.
        shared_words: whether words that all panels share, a title or "Scale bars: 10 µm", stay apart or are put before
            each panel's own words.
        detector: a learned detector instead, see `panel_detectors`.
        detector_weights: a local file that the detector is made from.
    """

    working_size: int = Field(default=WORKING_SIZE, ge=64)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    shared_words: Literal["apart", "prepended"] = "apart"
    detector: str | None = None
    detector_weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReading:
    """What was found out about one image.

    Attributes:
        is_multiple: whether the image shows several panels.
        score: probability that `is_multiple` is right.
        boxes: the panels in reading order; the whole image when there is one.
        captions: for each box its part of the caption, or None where letters and boxes do not match in number.
        shared: words of the caption that belong to all panels; empty where `captions` holds none.
    """

    is_multiple: bool
    score: float
    boxes: tuple[Box, ...]
    captions: tuple[SubCaption | None, ...]
    shared: str = ""


def read_panels(image: Image.Image, caption: str, options: PanelOptions) -> PanelReading:
    """Decide the panel type of an image, split it and match the parts of its caption.

    Args:
        image: RGB, any size.
        caption: of the figure; leave it empty when the figure has several image files, since its letters may then name
            files instead of panels.
        options: see `PanelOptions`.
    """
    gray, scale = gray_of(image, options.working_size)
    split = split_caption(caption)
    pieces, letters = _take_apart(gray, scale, [part.letter for part in split.parts], options)
    is_multiple = len(pieces.boxes) > 1
    boxes = in_reading_order(pieces.boxes) if is_multiple else [Box(0, 0, *gray.shape)]
    parts = _parts_of(boxes, split, letters)
    whole = Box(0, 0, image.height, image.width)
    return PanelReading(
        is_multiple=is_multiple,
        score=pieces.probability if is_multiple else 1 - pieces.probability,
        boxes=tuple(_scaled(box, scale, image) for box in boxes) if is_multiple else (whole,),
        captions=_worded(parts, split, options),
        shared=split.shared if any(parts) else "",
    )


def _take_apart(
    gray: Gray, scale: float, labels: Sequence[str], options: PanelOptions
) -> tuple[Pieces, dict[str, Box]]:
    """Boxes of the panels, and places of the caption's letters as far as they are found in the image.

    Where letters and boxes differ in number, the letters that are found help to decide which cuts are made. They are
    not looked for where as many boxes stand in one row or one column: their order is plain.
    """
    cutting = Cutting(gray, scale, len(labels))
    pieces = cutting.pieces(options.threshold)
    if len(labels) < 2 or (len(labels) == len(pieces.boxes) and _is_line(pieces.boxes)):
        return pieces, {}
    letters = find_letters(gray, labels)
    if len(labels) != len(pieces.boxes) and len(letters) > 1:
        known = Letters(tuple(letters.values()), are_all=len(letters) == len(labels))
        lettered = cutting.pieces(options.threshold, known)
        if abs(len(lettered.boxes) - len(labels)) < abs(len(pieces.boxes) - len(labels)):
            pieces = lettered
    return pieces, letters


def _is_line(boxes: Sequence[Box]) -> bool:
    """Whether boxes stand in one row or one column."""
    is_row = max(box.top for box in boxes) < min(box.bottom for box in boxes)
    return is_row or max(box.left for box in boxes) < min(box.right for box in boxes)


def captions_of(boxes: Sequence[Box], caption: str, options: PanelOptions) -> tuple[tuple[SubCaption | None, ...], str]:
    """Parts of a caption for boxes in reading order, and the words they share; none where they differ in number."""
    split = split_caption(caption)
    parts = _parts_of(boxes, split, {})
    return _worded(parts, split, options), split.shared if any(parts) else ""


def _parts_of(boxes: Sequence[Box], split: SplitCaption, letters: Mapping[str, Box]) -> list[SubCaption | None]:
    """The part of each box: of the one letter within it where every box has one, else in order, as many as boxes."""
    if len(boxes) < 2 or len(split.parts) < 2:
        return [None] * len(boxes)
    by_letter = {part.letter: part for part in split.parts}
    within = [[letter for letter, place in letters.items() if box.holds(place)] for box in boxes]
    if all(len(names) == 1 for names in within):
        return [by_letter[names[0]] for names in within]
    return list(split.parts) if len(split.parts) == len(boxes) else [None] * len(boxes)


def _worded(
    parts: Sequence[SubCaption | None], split: SplitCaption, options: PanelOptions
) -> tuple[SubCaption | None, ...]:
    if options.shared_words == "apart":
        return tuple(parts)
    with_shared = {part.letter: part for part in split.with_shared().parts}
    return tuple(part and with_shared[part.letter] for part in parts)


def gray_of(image: Image.Image, long_side: int) -> tuple[Gray, float]:
    """gray_HW, made smaller where the image is larger than `long_side`, and the scale."""
    scale = min(1.0, long_side / max(image.size))
    gray = image.convert("L")
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        gray = gray.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(gray), scale


def panel_row(key: str, reading: PanelReading) -> dict[str, object]:
    """Row of `image_panels`."""
    panels = [
        _panel(box, part.letter if part else None, part)
        for box, part in zip(reading.boxes, reading.captions, strict=True)
    ]
    return {
        "key": key,
        "is_multiple": reading.is_multiple,
        "score": round(reading.score, 4),
        "n_panels": len(panels),
        "shared_caption": reading.shared or None,
        "corrected_by": None,
        "panels": panels,
    }


def corrected_row(
    key: str, panels: Sequence[LetteredBox], person: str, caption: str, options: PanelOptions
) -> dict[str, object]:
    """Row of `image_panels` with the panels that a person has drawn.

    Args:
        key: of the image.
        panels: boxes in reading order, each with its letter, empty where it has none.
        person: who drew them.
        caption: as in `read_panels`; a panel gets the words of its letter.
        options: see `PanelOptions`.
    """
    split = split_caption(caption)
    by_letter = {part.letter: part for part in split.parts}
    parts = [by_letter.get(letter) for _, letter in panels] if len(panels) > 1 else [None]
    return {
        "key": key,
        "is_multiple": len(panels) > 1,
        "score": 1.0,
        "n_panels": len(panels),
        "shared_caption": split.shared or None if any(parts) else None,
        "corrected_by": person,
        "panels": [
            _panel(box, letter or None, words)
            for (box, letter), words in zip(panels, _worded(parts, split, options), strict=True)
        ],
    }


def _panel(box: Box, letter: str | None, words: SubCaption | None) -> dict[str, object]:
    return {
        "left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom,
        "letter": letter, "caption": words.text if words else None,
    }  # fmt: skip


def _scaled(box: Box, scale: float, image: Image.Image) -> Box:
    top, left, bottom, right = (value / scale for value in (box.top, box.left, box.bottom, box.right))
    return Box(int(top), int(left), min(image.height, int(np.ceil(bottom))), min(image.width, int(np.ceil(right))))
