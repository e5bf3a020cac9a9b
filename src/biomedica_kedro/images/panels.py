"""Compound figures: does an image show several panels, where do they lie, and which words are whose.

A classical method: recursive cuts along gutters of background color (Nagy's X-Y cut), the look of what borders on
them, and the panel letters of the caption. It answers for each image what BIOMEDICA answers for whole clusters. Panels
that touch each other without a gutter are left to a learned detector (`panel_detectors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from pydantic import Field

from biomedica_kedro.images.sub_captions import SubCaption, split_caption
from biomedica_kedro.records import Options

IMAGE_PANELS = pa.schema(
    [
        ("key", pa.string()),
        ("is_multiple", pa.bool_()),
        ("score", pa.float32()),
        ("n_panels", pa.int32()),
        ("shared_caption", pa.string()),
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

Mask = npt.NDArray[np.bool_]


class PanelOptions(Options):
    """What counts as a panel.

    Attributes:
        working_size: longest side in pixels at which gutters are looked for.
        min_gutter: width of a gutter as a share of the longest side.
        min_side: side of a panel as a share of the image's side.
        max_ink: share of a gutter's length that may be crossed by something else than background.
        threshold: score from which an image counts as multiple.
        shared_words: whether words that all panels share, a title or "Scale bars: 10 µm", stay apart or are put before
            each panel's own words.
        detector: a learned detector instead, see `panel_detectors`.
        detector_weights: a local file that the detector is made from.
    """

    working_size: int = Field(default=512, ge=64)
    min_gutter: float = Field(default=0.006, gt=0, lt=1)
    min_side: float = Field(default=0.16, gt=0, lt=0.5)
    max_ink: float = Field(default=0.004, ge=0, lt=1)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    shared_words: Literal["apart", "prepended"] = "apart"
    detector: str | None = None
    detector_weights: Path | None = None


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle of pixels: left and top inside, right and bottom outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReading:
    """What was found out about one image.

    Attributes:
        is_multiple: whether the image shows several panels.
        score: confidence in `is_multiple`, 0.5 to 1.
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
    scale = min(1.0, options.working_size / max(image.size))
    ink = _ink(image, scale)
    n_parts = len(split_caption(caption).parts)
    boxes, evidence = _split(ink, options)
    if n_parts > 1 and len(boxes) != n_parts:
        finer, finer_evidence = _split(ink, options, trust_marks=False)
        if len(finer) == n_parts:
            boxes, evidence = finer, finer_evidence
    probability = _probability(evidence, len(boxes), n_parts)
    is_multiple = probability >= options.threshold
    whole = Box(0, 0, image.height, image.width)
    found = tuple(_scaled(box, scale, image) for box in in_reading_order(boxes)) if is_multiple else (whole,)
    captions, shared = captions_of(found, caption, options)
    return PanelReading(
        is_multiple=is_multiple, score=max(probability, 1 - probability), boxes=found, captions=captions, shared=shared
    )


def captions_of(boxes: Sequence[Box], caption: str, options: PanelOptions) -> tuple[tuple[SubCaption | None, ...], str]:
    """Parts of a caption for boxes in reading order, and the words they share; none where they differ in number."""
    split = split_caption(caption)
    if len(boxes) < 2 or len(split.parts) != len(boxes):
        return (None,) * len(boxes), ""
    return split.with_shared().parts if options.shared_words == "prepended" else split.parts, split.shared


def panel_row(key: str, reading: PanelReading) -> dict[str, object]:
    """Row of `image_panels`."""
    panels = [
        {
            "left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom,
            "letter": part.letter if part else None, "caption": part.text if part else None,
        }
        for box, part in zip(reading.boxes, reading.captions, strict=True)
    ]  # fmt: skip
    return {
        "key": key,
        "is_multiple": reading.is_multiple,
        "score": round(reading.score, 4),
        "n_panels": len(panels),
        "shared_caption": reading.shared or None,
        "panels": panels,
    }


_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class _Evidence:
    """How much a split looks like panels: 0 to 1 each.

    Attributes:
        alignment: sides of the boxes are alike.
        edges: straight content edges along the gutters.
        marks: share of boxes with a small mark, a letter, alone in their top left corner.
    """

    alignment: float
    edges: float
    marks: float


def _probability(evidence: _Evidence, n_boxes: int, n_parts: int) -> float:
    """Probability of several panels.

    The weights of the gutters are a logistic regression on the embedded corpus without captions and on forty figures
    of real articles; letters in the caption alone make several panels a little more likely than one.
    """
    logit = -5.6 + 6.0 * (n_parts > 1)
    if n_boxes > 1:
        logit += 4.8 * evidence.alignment - 2.9 * evidence.edges + 7.0 * evidence.marks
        logit += 1.6 * min(np.log2(n_boxes), 3.0) + 0.6 * (n_parts == n_boxes)
    return float(1.0 / (1.0 + np.exp(-logit)))


def _ink(image: Image.Image, scale: float) -> Mask:
    """Pixels that are not background: white, or black where more of the image's border is black."""
    gray = image.convert("L")
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        gray = gray.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    tone = np.asarray(gray, dtype=np.int16)
    border = np.concatenate([tone[0], tone[-1], tone[:, 0], tone[:, -1]])
    background = 255 if (border > 240).mean() >= (border < 15).mean() else 0
    return np.asarray(np.abs(tone - background) > 20)


def _split(ink: Mask, options: PanelOptions, *, trust_marks: bool = True) -> tuple[list[Box], _Evidence]:
    whole = Box(0, 0, *ink.shape)
    boxes = _cut(ink, whole, options, _MAX_DEPTH, trust_marks)
    if len(boxes) < 2:
        return [whole], _Evidence(0.0, 0.0, 0.0)
    spread = max(_variation([box.width for box in boxes]), _variation([box.height for box in boxes]))
    edges = float(np.median([_edge_strength(ink, box) for box in boxes]))
    marks = float(np.mean([_has_mark(ink, box) for box in boxes]))
    return boxes, _Evidence(float(np.exp(-2 * spread)), edges, marks)


def _cut(ink: Mask, region: Box, options: PanelOptions, depth: int, trust_marks: bool) -> list[Box]:
    region = _trimmed(ink, region)
    if depth == 0 or min(region.width, region.height) < 8:
        return [region]
    best: tuple[float, list[Box]] = (0.0, [])
    for axis in (0, 1):
        pieces, gutter = _pieces(ink, region, axis, options)
        if len(pieces) > 1 and gutter > best[0]:
            best = (gutter, pieces)
    if not best[1]:
        return [region]
    if trust_marks and _has_mark(ink, region) and sum(_has_mark(ink, _trimmed(ink, box)) for box in best[1]) < 2:
        return [region]  # with one letter for all, the gutters are those inside a panel: rows of a blot or a table
    return [box for piece in best[1] for box in _cut(ink, piece, options, depth - 1, trust_marks)]


def _pieces(ink: Mask, region: Box, axis: int, options: PanelOptions) -> tuple[list[Box], float]:
    """Cut a region along one axis; pieces too thin for a panel join the neighbour across the narrower gap."""
    inside = ink[region.top : region.bottom, region.left : region.right]
    empty = inside.mean(axis=1 - axis) <= options.max_ink
    least = max(2, round(options.min_gutter * max(ink.shape)))
    gaps = [(a, b) for a, b in _runs(empty) if b - a >= least and a > 0 and b < len(empty)]
    starts = [0, *(b for _, b in gaps)]
    ends = [*(a for a, _ in gaps), len(empty)]
    spans = list(zip(starts, ends, strict=True))
    thin = options.min_side * ink.shape[axis]
    while len(spans) > 1:
        sizes = [b - a for a, b in spans]
        i = int(np.argmin(sizes))
        if sizes[i] >= thin:
            break
        before = spans[i][0] - spans[i - 1][1] if i > 0 else np.inf
        after = spans[i + 1][0] - spans[i][1] if i + 1 < len(spans) else np.inf
        j = i if after <= before else i - 1
        spans[j : j + 2] = [(spans[j][0], spans[j + 1][1])]
    widths = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    if axis == 0:
        boxes = [Box(region.top + a, region.left, region.top + b, region.right) for a, b in spans]
    else:
        boxes = [Box(region.top, region.left + a, region.bottom, region.left + b) for a, b in spans]
    return boxes, float(min(widths, default=0))


def _runs(flags: Mask) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _trimmed(ink: Mask, region: Box) -> Box:
    inside = ink[region.top : region.bottom, region.left : region.right]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return region
    return Box(
        region.top + int(rows[0]), region.left + int(columns[0]), region.top + int(rows[-1]) + 1,
        region.left + int(columns[-1]) + 1,
    )  # fmt: skip


def _variation(lengths: Sequence[int]) -> float:
    return float(np.std(lengths) / max(float(np.mean(lengths)), 1.0))


def _edge_strength(ink: Mask, box: Box) -> float:
    """Ink along the left, right and bottom sides of a box: near 1 for a photograph, near 0 for a plot."""
    inside = ink[box.top : box.bottom, box.left : box.right]
    return float(np.median([inside[:, :2].mean(), inside[:, -2:].mean(), inside[-2:].mean()]))


def _has_mark(ink: Mask, box: Box) -> bool:
    """Whether a small mark stands alone at the left of the box's first rows."""
    inside = ink[box.top : box.bottom, box.left : box.right]
    height = round(0.14 * box.height)
    for row, (a, b) in enumerate(_runs(np.asarray(inside[: height + 2].any(axis=1)))[:1]):
        if row or b > height + 1 or b - a < 4:
            return False
        columns = np.flatnonzero(inside[a:b].any(axis=0))
        return bool(columns[0] < 0.1 * box.width and columns[-1] - columns[0] < 2 * (b - a))
    return False


def in_reading_order(boxes: Sequence[Box]) -> list[Box]:
    """Row by row, left to right; boxes whose vertical centres lie within half a box of each other share a row."""
    remaining = sorted(boxes)
    ordered: list[Box] = []
    while remaining:
        first = remaining[0]
        row = [box for box in remaining if (box.top + box.bottom) / 2 < first.bottom]
        ordered += sorted(row or [first], key=lambda box: box.left)
        remaining = [box for box in remaining if box not in ordered]
    return ordered


def _scaled(box: Box, scale: float, image: Image.Image) -> Box:
    top, left, bottom, right = (value / scale for value in (box.top, box.left, box.bottom, box.right))
    return Box(int(top), int(left), min(image.height, int(np.ceil(bottom))), min(image.width, int(np.ceil(right))))
