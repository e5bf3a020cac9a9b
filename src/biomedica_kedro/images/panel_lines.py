"""What the lines of an image look like across a region: the evidence for a straight cut between two panels.

A cut may follow a gutter (lines of one tone, white, black or gray), a ridge (a line one pixel wide, brighter or darker
than both sides all along) or a step (a change of content where panels touch). Everything is counted on gray pixels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from biomedica_kedro.images.boxes import Box

Gray = npt.NDArray[np.uint8]  # gray_HW: H rows, W columns
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

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


class Gap(NamedTuple):
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


class Counts:
    """How many pixels of masks are set in any part of each line: 64 of them at once, by the machine's bit count."""

    def __init__(self, words_MLW: Words) -> None:
        """Args: words_MLW: M masks, L lines of W words, see `packed`; more pixels than any asked for."""
        self._words_WML = np.ascontiguousarray(words_MLW.transpose(2, 0, 1))
        self._before_WML = np.zeros(self._words_WML.shape, np.int32)
        for word, count in enumerate(np.bitwise_count(self._words_WML[:-1])):
            np.add(self._before_WML[word], count, out=self._before_WML[word + 1])
        self._known: dict[int, Integers] = {}

    def before(self, pixel: int) -> Integers:
        """counts_ML before a pixel; the edge of one region is that of others, so they are kept."""
        if pixel not in self._known:
            word, rest = divmod(pixel, 64)
            partly_ML = np.bitwise_count(self._words_WML[word] & np.uint64((1 << rest) - 1))
            self._known[pixel] = self._before_WML[word] + partly_ML
        return self._known[pixel]


def packed(mask_LQ: Mask) -> Words:
    """words_LW: 64 pixels a word; Q is a multiple of 64."""
    return np.packbits(mask_LQ.ravel(), bitorder="little").view("<u8").reshape(len(mask_LQ), mask_LQ.shape[1] // 64)


class Lines:
    """The columns of an image and what is on them; for rows give the transposed image."""

    def __init__(self, gray: Gray, page: int) -> None:
        n_pixels, n_lines = gray.shape
        lines_LQ = np.full((n_lines, 64 * (n_pixels // 64 + 1)), page, np.uint8)
        lines_LQ[:, :n_pixels] = gray.T  # what stands side by side lies one line apart
        self._page = page
        self._off_page_LP = lines_LQ[:, :n_pixels].astype(np.float32) - np.float32(page)
        lowest, highest = max(page - _INK, 0), min(page + _INK, 255)
        ink_LQ = lines_LQ - np.uint8(lowest) > highest - lowest  # what is lower wraps around
        self._ink, self._edges = Counts(packed(ink_LQ)[None]), Counts(_edges(lines_LQ))

    def inked(self, near: int, far: int, start: int, end: int) -> tuple[int, int, float]:
        """Where the rows from `near` to `far` show something between the columns `start` and `end`.

        Returns:
            The first and one past the last column that is not blank, all of them where all are, and the inked share.
        """
        ink_L = self._ink.before(far)[0, start:end] - self._ink.before(near)[0, start:end]
        filled_L = ink_L > MAX_INK * (far - near)
        first = int(filled_L.argmax())
        share = int(np.add.reduce(ink_L)) / max((far - near) * (end - start), 1)
        if not filled_L[first]:
            return start, end, share
        return start + first, end - int(filled_L[::-1].argmax()), share

    def gaps(self, near: int, far: int, start: int, end: int) -> list[Gap]:
        """Places between the columns `start` and `end` where the rows from `near` to `far` may be cut."""
        height, width = far - near, end - start
        if height < 8 or width < 16:
            return []
        off_page_LP = self._off_page_LP[start:end, near:far]
        tone = (off_page_LP @ np.ones(height, np.float32)).astype(np.float64) / height
        variance = np.vecdot(off_page_LP, off_page_LP) / height - tone * tone
        step, bright, dark = (self._edges.before(far)[:, start:end] - self._edges.before(near)[:, start:end]) / height
        return list(_Profile(tone + self._page, variance, step, np.maximum(bright, dark)).gaps())


def _edges(lines_LQ: Gray) -> Words:
    """words_MLW of three masks: a step from the line before, brighter, and darker, than two lines before and after."""
    words = np.zeros((3, len(lines_LQ), lines_LQ.shape[1] // 64), "<u8")
    left, right = lines_LQ[:-1], lines_LQ[1:]
    words[0, 1:] = packed(np.maximum(left, right) - np.minimum(left, right) > _STEP)
    before, here, after = lines_LQ[:-4], lines_LQ[2:-2], lines_LQ[4:]
    highest, lowest = np.maximum(before, after), np.minimum(before, after)
    words[1, 2:-2] = packed(np.maximum(here, highest) - highest > _RIDGE)
    words[2, 2:-2] = packed(lowest - np.minimum(here, lowest) > _RIDGE)
    return words


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
        inner = sorted(b - a for a, b in flat if a > 0 and b < width)
        widest, busy = inner[-1] if inner else 0, _median(self.step)
        used = np.zeros(width, np.bool_)
        for a, b in flat:
            used[max(0, a - 2) : b + 2] = True
            if a > 1 and b < width - 1:
                alike = len(inner) - bisect_left(inner, 0.7 * (b - a))
                yield self._gutter(a, b, widest, alike, busy)
        for x in _peaks(self.ridge, _MIN_RIDGE, used):
            before, after = _most(self.step[max(0, x - 2) : x + 1]), _most(self.step[x + 1 : x + 3])
            yield self._gap(x, x + 1, GapKind.RIDGE, before, after, widest, busy)
        for x in _peaks(self.step, _MIN_STEP, used):
            stands_out = float(self.step[x]) - _median(self.step[max(0, x - 12) : x + 13])
            yield self._gap(x, x, GapKind.STEP, float(self.step[x]), stands_out, widest, busy)

    def _gutter(self, a: int, b: int, widest: int, alike: int, busy: float) -> Gap:
        return Gap(
            a, b, GapKind.GUTTER, min(self.variance[a:b].tolist()), sum(self.tone[a:b].tolist()) / (b - a),
            _most(self.step[max(0, a - 2) : a + 1]), _most(self.step[b : b + 3]), _most(self.ridge[a:b]),
            widest, alike, busy,
        )  # fmt: skip

    def _gap(
        self, a: int, b: int, kind: GapKind, before: float, after: float, widest: int, busy: float
    ) -> Gap:  # a line or a step
        return Gap(
            a, b, kind, float(self.variance[a]), float(self.tone[a]), before, after, float(self.ridge[a]),
            widest, 0, busy,
        )  # fmt: skip


def _most(values: Floats) -> float:
    """The largest of a few values, in a tenth of the time that `max` of an array takes."""
    return float(max(values.tolist()))


def _median(values: Floats) -> float:
    """The middle value, the upper one of two: `np.median` takes twenty times as long for so few."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _peaks(share: Floats, least: float, used: Mask) -> Iterator[int]:
    """The strongest lines that no gap near them uses; they are marked as used."""
    strong = np.flatnonzero((share >= least) & ~used)
    if not len(strong):
        return
    for x in strong[np.argsort(-share[strong], kind="stable")[:_MOST]].tolist():
        if not used[x] and _APART <= x < len(share) - _APART:
            used[max(0, x - _APART) : x + _APART + 1] = True
            yield x


def runs(flags: Mask) -> list[tuple[int, int]]:
    """First and one past the last position of each run of true values."""
    edges = (np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist()
    edges = [0, *edges] if len(flags) and flags[0] else edges
    edges = [*edges, len(flags)] if len(edges) % 2 else edges
    return list(zip(edges[::2], edges[1::2], strict=True))


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
        self.rows = Lines(gray.T, self.page)

    @property
    def long_side(self) -> int:
        """Pixels of the longer side."""
        return int(max(self.shape))

    def trimmed(self, box: Box) -> Box:
        """The box without blank lines around what it shows; the box itself where it is blank."""
        for turn, axis in enumerate(("rows", "columns", "rows", "columns")):
            before = box
            box, _share = self.trimmed_along(box, axis)
            if turn and box == before:
                break
        return box

    def trimmed_along(self, box: Box, axis: str) -> tuple[Box, float]:
        """The box without its first and last blank rows, or columns, and the inked share of the whole box."""
        if axis == "rows":
            top, bottom, share = self.rows.inked(box.left, box.right, box.top, box.bottom)
            return Box(top, box.left, bottom, box.right), share
        left, right, share = self.columns.inked(box.top, box.bottom, box.left, box.right)
        return Box(box.top, left, box.bottom, right), share
