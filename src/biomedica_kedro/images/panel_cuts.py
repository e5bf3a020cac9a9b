"""Compound figures taken apart by straight cuts, each as likely as a small network says.

Recursive cuts along gutters (Nagy's X-Y cut) need a rule that tells the gutter between two panels from the gap between
a plot and its axis labels. Here a network of 5,000 weights judges every place where a region may be cut, by the look of
the line and of both pieces. It was trained on drawn figures with layouts of real ones (benchmarks/train_panel_cuts.py),
and the regions are cut where it is surest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import inf, log, log1p
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from biomedica_kedro.images import panel_glance
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_lines import Gap, GapKind, Gray, Scene

Features = npt.NDArray[np.float32]  # features_F of one cut, or cuts_NF

WEIGHTS = Path(__file__).with_name("panel_cuts.safetensors")
_LEAST_SIDE = 8  # pixels of an image that can be cut
_MOST_PANELS = 40
_WITHOUT_LETTERS, _WITH_LETTERS, _BEYOND_LETTERS = 0.4, 0.12, 0.85
_UNSURE = 5.0  # logits of several panels between -5 and 5 are looked at again
_LOOK = 1 / 3  # how much a look counts beside the cut: of tables and diagrams, single ones, it saw few that are real
_MOST_LOGIT = 9.2  # of a cut: more says no more
_BETWEEN, _BESIDE = 3.0, -4.0  # logits that letters in both pieces add, or in one alone
_LEAST_PANEL = 36  # pixels: 0.1 % of the panels of real compound figures are smaller


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where a region may be cut.

    Attributes:
        axis: "columns" for a cut from top to bottom, "rows" for one from left to right.
        first, second: the pieces, trimmed across the cut.
        features: what the network judges, see `_features`.
    """

    axis: str
    first: Box
    second: Box
    features: Features


@dataclass(frozen=True, slots=True)
class Letters:
    """Panel letters found in an image.

    Attributes:
        places: of the letters.
        are_all: whether these are all letters that the caption names.
    """

    places: tuple[Box, ...] = ()
    are_all: bool = False


NO_LETTERS = Letters()


@dataclass(frozen=True, slots=True, eq=False)
class SurestCut:
    """The first cut of an image.

    Attributes:
        cut: the place.
        counted: counted_F, its features and its logit.
        logit: of several panels.
    """

    cut: Cut
    counted: Features
    logit: float


@dataclass(frozen=True, slots=True)
class Pieces:
    """An image taken apart.

    Attributes:
        boxes: the panels; one when the image was not cut.
        probability: that the image shows several panels.
    """

    boxes: tuple[Box, ...]
    probability: float


def take_apart(
    gray: Gray, scale: float, n_letters: int, threshold: float = 0.5, letters: Letters = NO_LETTERS
) -> Pieces:
    """Cut an image where panels meet, once; see `Cutting`."""
    return Cutting(gray, scale, n_letters).pieces(threshold, letters)


class Cutting:
    """An image that can be cut again with other letters: where its regions may be cut is looked for once."""

    def __init__(self, gray: Gray, scale: float, n_letters: int) -> None:
        """What is to be cut.

        Args:
            gray: gray_HW, the sides at most some hundred pixels long.
            scale: pixels of `gray` for one of the image; panels of less than 36 pixels of the image are none.
            n_letters: panels that the caption names, 0 where it names none; as many are looked for with less evidence,
                and more only with much.
        """
        self._gray = gray
        self._n_letters = n_letters
        self._least_side = _LEAST_PANEL * scale
        self._cuts: dict[tuple[Box, int], tuple[list[Cut], Features]] = {}

    def pieces(self, threshold: float = 0.5, letters: Letters = NO_LETTERS) -> Pieces:
        """Cut where panels meet.

        Args:
            threshold: probability of several panels from which the image is cut.
            letters: panel letters in the image: a cut between two of them is likelier; where all are known, one that
                leaves a piece without any hardly is one.
        """
        whole = Box(0, 0, *self._gray.shape)
        if min(self._gray.shape) < _LEAST_SIDE:
            return Pieces((whole,), 0.0)
        open_regions = [self._judge(self._region, 0, letters)]
        probability = self._several
        if letters.places:
            probability = max(probability, _logistic(_network().calibrated(open_regions[0].logit)))
        while len(open_regions) < _MOST_PANELS:
            best = max(open_regions, key=lambda judged: judged.logit)
            if best.cut is None or not _is_likely(
                _logistic(best.logit), probability, len(open_regions), self._n_letters, threshold
            ):
                break
            open_regions.remove(best)
            pieces = (self._scene.trimmed(piece) for piece in (best.cut.first, best.cut.second))
            open_regions += (self._judge(piece, best.depth + 1, letters) for piece in pieces)
        return Pieces(tuple(judged.region for judged in open_regions), probability)

    def surest(self) -> SurestCut | None:
        """Where the image would be cut first; None where nowhere."""
        if min(self._gray.shape) < _LEAST_SIDE:
            return None
        judged = self._judge(self._region, 0, NO_LETTERS)
        if judged.cut is None:
            return None
        counted_F = np.append(judged.cut.features, np.float32(judged.logit))
        return SurestCut(judged.cut, counted_F, _network().calibrated(judged.logit))

    @cached_property
    def _several(self) -> float:
        """Probability of several panels, whatever letters there are: by the surest cut, or a second look."""
        surest = self.surest()
        if surest is None:
            return 0.0
        if abs(surest.logit) >= _UNSURE:
            return _logistic(surest.logit)
        look = panel_glance.glance(self._gray, surest.cut.first, surest.cut.second, surest.counted)
        return _logistic((1 - _LOOK) * surest.logit + _LOOK * look)

    @cached_property
    def _scene(self) -> Scene:
        return Scene(self._gray)

    @cached_property
    def _region(self) -> Box:
        """All that the image shows."""
        return self._scene.trimmed(Box(0, 0, *self._gray.shape))

    def _judge(self, region: Box, depth: int, letters: Letters) -> _Judged:
        """A region with its best cut."""
        if (region, depth) not in self._cuts:
            cuts = possible_cuts(self._scene, region, self._region, depth, self._n_letters, self._least_side)
            features = np.array([cut.features for cut in cuts], dtype=np.float32)
            self._cuts[region, depth] = cuts, _network().logits(features) if cuts else features
        cuts, logits = self._cuts[region, depth]
        if not cuts:
            return _Judged(region, depth, None, -inf)
        if letters.places:
            logits = logits + np.array([_favor(cut, letters) for cut in cuts], dtype=np.float32)
        best = int(logits.argmax())
        return _Judged(region, depth, cuts[best], float(logits[best]))


def _is_likely(cut: float, several: float, n_regions: int, n_letters: int, threshold: float) -> bool:
    """Whether to cut: at first if there are likely several panels, then up to as many as the caption names."""
    if n_regions == 1:
        return several >= threshold
    if n_letters > 1:
        return cut >= (_WITH_LETTERS if n_regions < n_letters else _BEYOND_LETTERS)
    return cut >= _WITHOUT_LETTERS


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """A region with its best cut."""

    region: Box
    depth: int
    cut: Cut | None
    logit: float


def _favor(cut: Cut, letters: Letters) -> float:
    """What letters in both pieces, or in one alone, add to a cut's logit."""
    if all(any(piece.holds(place) for place in letters.places) for piece in (cut.first, cut.second)):
        return _BETWEEN
    return _BESIDE if letters.are_all else 0.0


def _logistic(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def possible_cuts(scene: Scene, region: Box, whole: Box, depth: int, n_letters: int, least_side: float) -> list[Cut]:
    """Every place where a region may be cut.

    Args:
        scene: the image.
        region: what is to be cut, trimmed.
        whole: all that the image shows, trimmed.
        depth: cuts that led to the region.
        n_letters: panels that the caption names.
        least_side: of a panel.
    """
    cuts: list[Cut] = []
    if min(region.height, region.width) < least_side:
        return cuts
    along = (region.top, region.bottom), (region.left, region.right)
    for axis, across, lines, length, edges in (
        ("columns", "rows", scene.columns, region.width, (*along[0], *along[1])),
        ("rows", "columns", scene.rows, region.height, (*along[1], *along[0])),
    ):
        for gap in lines.gaps(*edges) if length >= 2 * least_side else ():
            if min(gap.start, length - gap.end) < least_side:
                continue
            before, after = _pieces(region, axis, gap)
            first, ink = scene.trimmed_along(before, across)
            second, other_ink = scene.trimmed_along(after, across)
            features = np.array(
                [
                    *_look(scene, gap),
                    *_shape(scene, region, axis, first, second),
                    ink, other_ink, abs(ink - other_ink), min(ink, other_ink),
                    axis == "columns", depth / 4, region == whole, log(region.width / region.height),
                    region.width * region.height / (scene.shape[0] * scene.shape[1]),
                    n_letters == 0, min(n_letters, 8) / 4, n_letters < 2, log(scene.long_side / 480 + 0.01),
                ],
                dtype=np.float32,
            )  # fmt: skip
            cuts.append(Cut(axis, first, second, features))
    return cuts


def _pieces(region: Box, axis: str, gap: Gap) -> tuple[Box, Box]:
    if axis == "columns":
        return (
            Box(region.top, region.left, region.bottom, region.left + gap.start),
            Box(region.top, region.left + gap.end, region.bottom, region.right),
        )
    return (
        Box(region.top, region.left, region.top + gap.start, region.right),
        Box(region.top + gap.end, region.left, region.bottom, region.right),
    )


def _look(scene: Scene, gap: Gap) -> list[float]:
    """The line itself and the edges beside it."""
    width = gap.end - gap.start
    return [
        gap.kind is GapKind.GUTTER, gap.kind is GapKind.RIDGE, gap.kind is GapKind.STEP,
        log1p(width), 20 * width / scene.long_side, min(gap.variance, 400.0) / 100,
        abs(gap.tone - scene.page) > 25, gap.tone > 235, gap.tone < 20,
        gap.before, gap.after, min(gap.before, gap.after), gap.ridge, gap.busy,
        log1p(gap.widest), width / gap.widest if gap.widest else 0.0, min(gap.alike, 5) / 3,
    ]  # fmt: skip


def _shape(scene: Scene, region: Box, axis: str, first: Box, second: Box) -> list[float]:
    """Sizes of the pieces and how well they line up; "along" is across the cut."""
    if axis == "columns":
        along, across = (first.width, second.width), (first.height, second.height)
        length, breadth = region.width, region.height
        offset = abs(first.top - second.top) + abs(first.bottom - second.bottom)
    else:
        along, across = (first.height, second.height), (first.width, second.width)
        length, breadth = region.height, region.width
        offset = abs(first.left - second.left) + abs(first.right - second.right)
    long_side = scene.long_side
    aspects = [log((box.width + 1) / (box.height + 1)) for box in (first, second)]
    areas = [box.width * box.height for box in (first, second)]
    return [
        along[0] / length, along[1] / length, min(along) / length, abs(along[0] - along[1]) / length,
        min(along) / long_side, max(along) / long_side, min(across) / long_side, breadth / long_side,
        length / long_side, abs(across[0] - across[1]) / max(*across, 1), offset / breadth,
        aspects[0], aspects[1], abs(aspects[0] - aspects[1]), min(areas) / (scene.shape[0] * scene.shape[1]),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Network:
    """Two hidden layers of rectified units.

    Attributes:
        tensors: `mean_F` and `scale_F` of the features, `weight_i` and `bias_i` of the layers, and `calibration`,
            slope and shift of the logit of an image's first cut.
    """

    tensors: dict[str, Features]

    def logits(self, cuts_NF: Features) -> Features:
        """Of each of N cuts, for lying between two panels."""
        values = np.minimum(np.maximum((cuts_NF - self.tensors["mean"]) / self.tensors["scale"], -4), 4)
        for layer in range(2):
            values = np.maximum(values @ self.tensors[f"weight_{layer}"] + self.tensors[f"bias_{layer}"], 0)
        return np.asarray((values @ self.tensors["weight_2"] + self.tensors["bias_2"])[:, 0])

    def calibrated(self, logit: float) -> float:
        """Logit of several panels, from that of an image's first cut."""
        slope, shift = self.tensors["calibration"]
        return float(slope * min(max(logit, -_MOST_LOGIT), _MOST_LOGIT) + shift)


@cache
def _network() -> Network:
    return Network(load_file(WEIGHTS))
