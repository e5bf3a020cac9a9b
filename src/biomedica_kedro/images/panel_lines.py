"""What the lines of an image look like across a region: the evidence for a straight cut between two panels.

A cut may follow a gutter (lines of one tone, white, black or gray), a ridge (a line one pixel wide, brighter or darker
than both sides all along) or a step (a change of content where panels touch). Everything is counted on gray pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from biomedica_kedro.images.boxes import Box

Gray = npt.NDArray[np.uint8]  # gray_HW: H rows, W columns
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MAX_INK = 0.004  # share of a blank line that may be crossed by something else than the page
_INK, _STEP, _RIDGE = 20, 12, 8  # differences of gray tones
_FLAT_VARIANCE = 60.0
_MIN_RIDGE, _MIN_STEP = 0.5, 0.35  # shares of a line
_MOST = 4  # ridges and steps of a region
_APART = 4  # pixels between two of them


class GapKind(IntEnum):
    """What a cut follows."""

    GUTTER = 0
    RIDGE = 1
    STEP = 2


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where a region may be cut, in pixels along the region.

    Attributes:
        start, end: of the gutter; equal where panels touch.
        kind: what the cut follows.
        variance: of the tones on its calmest line.
        tone: mean gray.
        before, after: share of the line with an edge on either side; for a step, how far it stands out from its
            surroundings is `after`.
        ridge: share of the line brighter, or darker, than both sides.
        widest: width of the widest gutter of the region.
        alike: gutters of the region that are as wide, or wider.
        busy: share of edges on the median line of the region.
    """

    start: int
    end: int
    kind: GapKind
    variance: float
    tone: float
    before: float
    after: float
    ridge: float
    widest: int = 0
    alike: int = 0
    busy: float = 0.0


class Lines:
    """Counts along the columns of an image; for rows give the transposed image."""

    def __init__(self, gray: Gray, page: int) -> None:
        tone = gray.astype(np.int16)
        self.gray = gray
        self.square = np.multiply(gray, gray, dtype=np.uint16)
        self.ink: Mask = np.abs(tone - page) > _INK
        self.step, self.bright, self.dark = (np.zeros(gray.shape, np.bool_) for _ in range(3))
        self.step[:, 1:] = np.abs(tone[:, 1:] - tone[:, :-1]) > _STEP
        above_left, above_right = tone[:, 2:-2] - tone[:, :-4], tone[:, 2:-2] - tone[:, 4:]
        self.bright[:, 2:-2] = (above_left > _RIDGE) & (above_right > _RIDGE)
        self.dark[:, 2:-2] = (above_left < -_RIDGE) & (above_right < -_RIDGE)

    def ink_of(self, near: int, far: int, start: int, end: int) -> npt.NDArray[np.uint16]:
        """Inked pixels of each column from `start` to `end` between the rows `near` and `far`."""
        return np.asarray(np.add.reduce(self.ink[near:far, start:end], axis=0, dtype=np.uint16))

    def gaps(self, near: int, far: int, start: int, end: int) -> list[Gap]:
        """Places between the columns `start` and `end` where the rows from `near` to `far` may be cut."""
        height, width = far - near, end - start
        if height < 8 or width < 16:
            return []
        region = slice(near, far), slice(start, end)
        tone = np.add.reduce(self.gray[region], axis=0, dtype=np.uint32) / height
        variance = np.add.reduce(self.square[region], axis=0, dtype=np.uint32) / height - tone * tone
        step, bright, dark = (
            np.add.reduce(mask[region], axis=0, dtype=np.uint16) / height
            for mask in (self.step, self.bright, self.dark)
        )
        profile = _Profile(tone, variance, step, np.maximum(bright, dark))
        return list(profile.gaps())


@dataclass(frozen=True, slots=True)
class _Profile:
    """Statistics of each line of a region."""

    tone: Floats
    variance: Floats
    step: Floats
    ridge: Floats

    def gaps(self) -> Iterator[Gap]:
        width = len(self.tone)
        flat = runs(np.asarray(self.variance < _FLAT_VARIANCE))
        inner = [b - a for a, b in flat if a > 0 and b < width]
        widest, busy = max(inner, default=0), _median(self.step)
        used = np.zeros(width, np.bool_)
        for a, b in flat:
            used[max(0, a - 2) : b + 2] = True
            if a > 1 and b < width - 1:
                alike = sum(other >= 0.7 * (b - a) for other in inner)
                yield self._gutter(a, b, widest, alike, busy)
        for x in _peaks(self.ridge, _MIN_RIDGE, used):
            before, after = self.step[max(0, x - 2) : x + 1].max(), self.step[x + 1 : x + 3].max()
            yield self._gap(x, x + 1, GapKind.RIDGE, before, after, widest, busy)
        for x in _peaks(self.step, _MIN_STEP, used):
            stands_out = self.step[x] - _median(self.step[max(0, x - 12) : x + 13])
            yield self._gap(x, x, GapKind.STEP, self.step[x], stands_out, widest, busy)

    def _gutter(self, a: int, b: int, widest: int, alike: int, busy: float) -> Gap:
        return Gap(
            a, b, GapKind.GUTTER, float(self.variance[a:b].min()), float(np.add.reduce(self.tone[a:b])) / (b - a),
            float(self.step[max(0, a - 2) : a + 1].max()), float(self.step[b : b + 3].max()),
            float(self.ridge[a:b].max()), widest, alike, busy,
        )  # fmt: skip

    def _gap(
        self, a: int, b: int, kind: GapKind, before: float, after: float, widest: int, busy: float
    ) -> Gap:  # a line or a step
        return Gap(
            a, b, kind, float(self.variance[a]), float(self.tone[a]), float(before), float(after),
            float(self.ridge[a]), widest, 0, busy,
        )  # fmt: skip


def _median(values: Floats) -> float:
    """The middle value, the upper one of two: `np.median` takes twenty times as long for so few."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _peaks(share: Floats, least: float, used: Mask) -> Iterator[int]:
    """The strongest lines that no gap near them uses; they are marked as used."""
    share = np.where(used, 0.0, share)
    for x in np.argsort(-share)[:_MOST].tolist():
        if share[x] < least:
            return
        if not used[x] and _APART <= x < len(share) - _APART:
            used[max(0, x - _APART) : x + _APART + 1] = True
            yield x


def runs(flags: Mask) -> list[tuple[int, int]]:
    """First and one past the last position of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def page_tone(gray: Gray) -> int:
    """Gray of the page, from the image's border: white unless another tone covers most of it."""
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    if (border > 240).mean() > 0.25:
        return 255
    counts = np.bincount(border >> 4, minlength=16)
    most = int(counts.argmax())
    return int(np.median(border[(border >> 4) == most])) if counts[most] > 0.5 * len(border) else 255


class Scene:
    """An image in gray, seen along its columns and its rows.

    Attributes:
        page: gray of the page.
        columns: lines from top to bottom.
        rows: lines from left to right, on the transposed image.
    """

    def __init__(self, gray: Gray) -> None:
        self.shape = gray.shape
        self.page = page_tone(gray)
        self.columns = Lines(gray, self.page)
        self.rows = Lines(np.ascontiguousarray(gray.T), self.page)

    @property
    def long_side(self) -> int:
        """Pixels of the longer side."""
        return int(max(self.shape))

    def trimmed(self, box: Box) -> Box:
        """The box without blank lines around what it shows; the box itself where it is blank."""
        for _ in range(2):
            before = box
            box = self.trimmed_along(self.trimmed_along(box, "rows")[0], "columns")[0]
            if box == before:
                break
        return box

    def trimmed_along(self, box: Box, axis: str) -> tuple[Box, float]:
        """The box without its first and last blank rows, or columns, and the inked share of the whole box."""
        if axis == "rows":
            ink, length = self.rows.ink_of(box.left, box.right, box.top, box.bottom), box.width
        else:
            ink, length = self.columns.ink_of(box.top, box.bottom, box.left, box.right), box.height
        share = float(ink.sum(dtype=np.int64)) / max(box.width * box.height, 1)
        lines = np.flatnonzero(ink > MAX_INK * length)
        if not len(lines):
            return box, share
        first, last = int(lines[0]), int(lines[-1]) + 1
        if axis == "rows":
            return Box(box.top + first, box.left, box.top + last, box.right), share
        return Box(box.top, box.left + first, box.bottom, box.left + last), share
