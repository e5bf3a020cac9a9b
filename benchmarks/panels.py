"""Claim: figures with the layouts of real ones are split where their panels lie, and the score is a probability.

    python benchmarks/panels.py [--figures 600] [--seed 0]

Figures are drawn (`drawn_figures`): real arrangements, sizes, gutters and labels, the content of the embedded corpus.
They are read with their captions, as `detect_panels` does, and without. A panel is found where a box overlaps it by
half (intersection over union), each box counting once. The second stage, a look at the whole figure where the cuts are
not sure, is timed apart. Gutters are those drawn, in pixels of the figure; a chart has a white margin of its own
besides. None of these figures was seen in training (`train_panel_cuts` and `train_panel_glance` have other seeds). CPU
time is the least of five readings of each figure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import numpy as np
from drawn_figures import DrawnFigure, draw_figures
from PIL import Image
from reliability import DRAWN, draw_scores, reliability
from report import machine, write_result

from biomedica_kedro.images import panel_glance
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panels import PanelOptions, PanelReading, read_panels

CLASSES = {
    "all": lambda figure: True,
    "single panels": lambda figure: figure.gutter is None,
    "compound": lambda figure: figure.gutter is not None,
    "touching": lambda figure: figure.gutter is not None and figure.gutter <= 0,
    "1-2 px": lambda figure: figure.gutter in (1, 2),
    "3-5 px": lambda figure: figure.gutter in (3, 4, 5),
    "6 px and more": lambda figure: figure.gutter is not None and figure.gutter > 5,
    "black or gray page": lambda figure: figure.page < 255,
}
ROUNDS = 5
PRECISIONS = (0.95, 0.98, 0.99)


@dataclass(frozen=True)
class Read:
    """A figure and what was read of it."""

    figure: DrawnFigure
    reading: PanelReading

    @property
    def probability(self) -> float:
        """That the figure has several panels."""
        return self.reading.score if self.reading.is_multiple else 1 - self.reading.score


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    common = max(width, 0) * max(height, 0)
    return common / (a.width * a.height + b.width * b.height - common)


def matched(true: Sequence[Box], found: Sequence[Box]) -> list[tuple[int, int]]:
    """Pairs of a true and a found box that overlap by half, best first, each box once."""
    pairs = sorted(((overlap(a, b), i, j) for i, a in enumerate(true) for j, b in enumerate(found)), reverse=True)
    taken: list[tuple[int, int]] = []
    for share, i, j in pairs:
        if share >= 0.5 and all(i != k and j != m for k, m in taken):
            taken.append((i, j))
    return taken


def measure(read: Iterable[Read]) -> dict[str, object]:
    """Counts of figures and panels that are right."""
    read = list(read)
    pairs = [matched(r.figure.boxes, r.reading.boxes) for r in read]
    hits = sum(map(len, pairs))
    lettered = [(r, p) for r, p in zip(read, pairs, strict=True) if len(r.figure.labels) > 1]
    right = [_has_letter(r, i, j) for r, pair in lettered for i, j in pair]
    return {
        "figures": len(read),
        "recall": round(hits / sum(len(r.figure.boxes) for r in read), 3),
        "precision": round(hits / sum(len(r.reading.boxes) for r in read), 3),
        "single or multiple": round(np.mean([(len(r.figure.boxes) > 1) == r.reading.is_multiple for r in read]), 3),
        "right number": round(np.mean([len(r.figure.boxes) == len(r.reading.boxes) for r in read]), 3),
        "found panels with their letter": round(np.mean(right), 3) if right else "",
    }


def _has_letter(read: Read, i: int, j: int) -> bool:
    words = read.reading.captions[j]
    return words is not None and words.letter == read.figure.labels[i]


def thresholds(read: Sequence[Read]) -> str:
    """The lowest threshold from which figures called multiple are so with a wished precision."""
    several = np.array([len(r.figure.boxes) > 1 for r in read])
    p = np.array([r.probability for r in read])
    order = np.argsort(-p)
    precision = np.cumsum(several[order]) / np.arange(1, len(p) + 1)
    said = []
    for wished in PRECISIONS:
        last = int(np.flatnonzero(precision >= wished)[-1])
        recall = several[order][: last + 1].sum() / several.sum()
        said.append(f"{wished:.2f} from a threshold of {p[order][last]:.2f} on, with a recall of {recall:.2f}")
    return "Precision of *multiple*: " + "; ".join(said) + "."


@dataclass(frozen=True)
class Timed:
    """What is read of an image, and the CPU seconds of both stages; 0 where the second was not asked."""

    reading: PanelReading
    first: float
    second: float


def timed_reading(image: Image.Image, caption: str) -> Timed:
    """Read an image: the least seconds of some rounds count, as others use the machine too."""
    rounds = []
    for _ in range(ROUNDS):
        second: list[float] = []
        with patch.object(panel_glance, "glance", partial(_timed, panel_glance.glance, second)):
            started = time.process_time()
            reading = read_panels(image, caption, PanelOptions())
            rounds.append((time.process_time() - started - sum(second), sum(second)))
    return Timed(reading, *map(min, zip(*rounds, strict=True)))


def _timed(function: Callable[..., float], seconds: list[float], *given: object) -> float:
    started = time.process_time()
    answer = function(*given)
    seconds.append(time.process_time() - started)
    return answer


def milliseconds(timed: Sequence[Timed]) -> dict[str, object]:
    """Means of all, for the second stage of those that were asked."""
    asked = [reading.second for reading in timed if reading.second > 0]
    return {
        "CPU ms, first stage": round(1000 * float(np.mean([reading.first for reading in timed])), 1),
        "second stage asked": round(len(asked) / len(timed), 2),
        "CPU ms of it": round(1000 * float(np.mean(asked)), 1) if asked else "",
    }


def main() -> None:
    """Draw, read, compare, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    figures = list(draw_figures(given.figures, given.seed))
    rows, arms = [], {}
    for told in (True, False):
        timed = [timed_reading(figure.image, figure.caption if told else "") for figure in figures]
        arms[told] = [Read(figure, reading.reading) for figure, reading in zip(figures, timed, strict=True)]
        spent = milliseconds(timed)
        for name, is_of in CLASSES.items():
            chosen = [read for read in arms[told] if is_of(read.figure)]
            if chosen:
                rows.append(
                    {"": f"{name}{'' if told else ', no caption'}", **measure(chosen)}
                    | (spent if name == "all" else dict.fromkeys(spent, ""))
                )
    described = f"`python benchmarks/panels.py --figures {given.figures} --seed {given.seed}`; {machine()}."
    write_result("panels", "Panels found in drawn figures with real layouts", described, rows)
    read = arms[True]
    scores = reliability([one.probability for one in read], [len(one.figure.boxes) > 1 for one in read])
    title = "How far the score of several panels can be trusted"
    write_result(DRAWN, title, f"{described} With captions.", scores, thresholds(read))
    draw_scores()


if __name__ == "__main__":
    main()
