"""Claim: most composed figures are split where their panels lie, and each panel gets its part of the caption.

    python benchmarks/panels.py [--figures 200]

Figures are those of the embedded corpus, as its default options plan them: composed ones and as many single panels,
read with their captions as `detect_panels` does, and without. Where the panels lie is known by composing every figure
again with panels that paint one color each. The corpus is procedural and its gutters are white: real figures are
harder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image
from report import machine, write_result

from biomedica_corpus.options import CorpusOptions, Stream, random_stream
from biomedica_corpus.plan import ArticlePlan, FigurePlan, plan_corpus
from biomedica_corpus.render import compose, paint_part
from biomedica_kedro.images.panels import Box, PanelOptions, PanelReading, read_panels

OPTIONS = CorpusOptions()


@dataclass(frozen=True)
class Figure:
    """A drawn figure, its caption and its panels in order of their letters."""

    image: Image.Image
    caption: str
    boxes: tuple[Box, ...]


class FlatPanel:
    """A stand-in for a panel: paints one color, in the shape of the panel it stands for."""

    def __init__(self, panel: object, color: int) -> None:
        self.kind, self.color = panel.kind, (color + 1, 0, 255)  # type: ignore[attr-defined]

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """The panel's place."""
        return Image.new("RGB", (width, height), self.color)


def draw(article: ArticlePlan, figure: FigurePlan) -> Figure:
    """A figure of one image file."""
    image = paint_part(OPTIONS, article, figure, 0)
    caption = figure.caption.text
    panels = figure.parts[0]
    if len(panels) == 1:
        return Figure(image, caption, (Box(0, 0, image.height, image.width),))
    seeds = [
        random_stream(OPTIONS.seed, Stream.PIXELS, article.number, figure.number, 0, i) for i in range(len(panels))
    ]
    flat = [FlatPanel(panel, i) for i, panel in enumerate(panels)]
    page = compose(flat, seeds, int(OPTIONS.image_size * 0.7), letters=figure.caption.letters)
    assert page.size == image.size
    pixels = np.asarray(page)
    return Figure(image, caption, tuple(_place(pixels, panel.color) for panel in flat))


def _place(pixels: np.ndarray, color: tuple[int, int, int]) -> Box:
    rows, columns = np.nonzero((pixels == color).all(axis=2))
    return Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)


def figures(count: int, *, composed: bool) -> Iterator[Figure]:
    """The first figures of the corpus that are composed of several panels, or that are not."""
    plans = ((article, figure) for article in plan_corpus(OPTIONS) for figure in article.figures)
    wanted = ((a, f) for a, f in plans if len(f.parts) == 1 and (len(f.panels) > 1) is composed)
    return (draw(article, figure) for article, figure in islice(wanted, count))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    common = max(width, 0) * max(height, 0)
    return common / (a.width * a.height + b.width * b.height - common)


def measure(drawn: Sequence[Figure], singles: Sequence[Figure], *, with_caption: bool) -> dict:
    """How often the panel type is right, and how well the boxes and the words fit."""
    started = time.process_time()
    options = PanelOptions()
    read = [read_panels(f.image, f.caption if with_caption else "", options) for f in drawn]
    alone = [read_panels(f.image, f.caption if with_caption else "", options) for f in singles]
    seconds = time.process_time() - started
    best = [max(overlap(box, found) for found in r.boxes) for f, r in zip(drawn, read, strict=True) for box in f.boxes]
    lettered = [_letters_right(f, r) for f, r in zip(drawn, read, strict=True)]
    return {
        "composed_called_multiple": round(np.mean([r.is_multiple for r in read]), 4),
        "single_called_single": round(np.mean([not r.is_multiple for r in alone]), 4),
        "right_number_of_panels": round(
            np.mean([len(r.boxes) == len(f.boxes) for f, r in zip(drawn, read, strict=True)]), 4
        ),
        "mean_iou_of_a_panel_with_its_best_box": round(np.mean(best), 4),
        "panels_with_iou_of_half_or_more": round(np.mean(np.array(best) >= 0.5), 4),
        "panels_with_iou_of_three_quarters_or_more": round(np.mean(np.array(best) >= 0.75), 4),
        **({"panels_with_the_right_words": round(np.mean(np.concatenate(lettered)), 4)} if with_caption else {}),
        "cpu_ms_an_image": round(1000 * seconds / (len(drawn) + len(singles)), 1),
    }


def _letters_right(figure: Figure, reading: PanelReading) -> list[bool]:
    """For each panel: whether the box that covers it best has the panel's own letter."""
    found = []
    for position, box in enumerate(figure.boxes):
        overlaps = [overlap(box, other) for other in reading.boxes]
        words = reading.captions[int(np.argmax(overlaps))]
        found.append(words is not None and words.letter == "ABCDEFGH"[position] and max(overlaps) >= 0.5)
    return found


def main() -> None:
    """Draw, read, compare, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=int, default=200)
    count = parser.parse_args().figures
    drawn, singles = list(figures(count, composed=True)), list(figures(count, composed=False))
    arms = [measure(drawn, singles, with_caption=told) for told in (True, False)]
    write_result(
        "panels",
        "Panels found in composed figures",
        f"`python benchmarks/panels.py --figures {count}`; {machine()}. {len(drawn)} composed figures "
        f"({sum(len(figure.boxes) for figure in drawn)} panels) and {len(singles)} single panels of the corpus.",
        [
            {"": name.replace("_", " "), "with captions": value, "without": arms[1].get(name, "")}
            for name, value in arms[0].items()
        ],
    )


if __name__ == "__main__":
    main()
