"""Distill the layouts of real compound figures into a small file of numbers: benchmarks/layout_statistics.json.

    python benchmarks/layout_statistics.py [--layouts FILE]

FILE is a table of panels, one a line: figure, left, top, right, bottom, label and the label's box, in pixels, edges
inclusive. It is not part of this project (default: ../shared/data/panels/layouts.tsv); what is distilled names no
figure and holds no layout: how often which arrangement occurs, and quantiles of sizes, gutters and label places. A
layout's arrangement is how straight cuts take it apart: "r(c(p,p),p)" is a row of two panels above a wide one.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

LAYOUTS = Path(__file__).parents[2] / "shared" / "data" / "panels" / "layouts.tsv"
STATISTICS = Path(__file__).with_name("layout_statistics.json")
TOLERANCE = 2  # pixels that boxes drawn by hand may overlap
LEAST = 3  # arrangements seen less often are left out
PERCENTS = (1, *range(5, 100, 5), 99)

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Node:
    """A region that straight cuts take apart: a panel where it has no children."""

    box: Rectangle
    axis: str = "p"
    children: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return f"{self.axis}({','.join(map(str, self.children))})" if self.children else "p"


def take_apart(boxes: Sequence[Rectangle]) -> Node | None:
    """The tree of cuts, rows before columns; None where no straight cuts do."""
    outline = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
    if len(boxes) == 1:
        return Node(outline)
    for axis, name in ((1, "r"), (0, "c")):
        groups = list(_groups(boxes, axis))
        if len(groups) > 1:
            children = [take_apart(group) for group in groups]
            return None if None in children else Node(outline, name, tuple(filter(None, children)))
    return None


def _groups(boxes: Sequence[Rectangle], axis: int) -> Iterator[list[Rectangle]]:
    ordered = sorted(boxes, key=lambda box: box[axis])
    group, end = [ordered[0]], ordered[0][axis + 2]
    for box in ordered[1:]:
        if box[axis] >= end - TOLERANCE:
            yield group
            group = []
        group.append(box)
        end = max(end, box[axis + 2])
    yield group


def nodes(tree: Node) -> Iterator[Node]:
    """All regions with children."""
    if tree.children:
        yield tree
        for child in tree.children:
            yield from nodes(child)


def gutters(node: Node) -> list[int]:
    """Pixels between a region's children, below zero where they overlap."""
    near, far = (1, 3) if node.axis == "r" else (0, 2)
    return [later.box[near] - earlier.box[far] for earlier, later in pairwise(node.children)]


def shares(node: Node) -> list[float]:
    """Sizes of a region's children along the cut, as multiples of their mean."""
    near, far = (1, 3) if node.axis == "r" else (0, 2)
    sizes = np.array([child.box[far] - child.box[near] for child in node.children], dtype=float)
    return list(sizes / sizes.mean())


def quantiles(values: Sequence[float]) -> list[float]:
    """Values at PERCENTS, to three digits."""
    return [float(f"{value:.3g}") for value in np.percentile(values, PERCENTS)]


def distill(figures: Sequence[Sequence[tuple[Rectangle, Rectangle | None]]]) -> dict[str, object]:
    """Numbers of all figures: panels with the boxes of their labels."""
    trees = [take_apart([box for box, _ in panels]) for panels in figures]
    compound = [tree for tree in trees if tree and tree.children]
    arrangements = Counter(map(str, compound))
    splits = [node for tree in compound for node in nodes(tree)]
    labels = [(box, label) for panels in figures for box, label in panels if label]
    aspects = [(b[2] - b[0]) / (b[3] - b[1]) for panels in figures for b, _ in panels if len(panels) > 1]
    return {
        "percents": PERCENTS,
        "single_share": round(sum(len(panels) == 1 for panels in figures) / len(figures), 3),
        "not_cut_apart_share": round(sum(tree is None for tree in trees) / len(figures), 3),
        "arrangements": {name: count for name, count in arrangements.most_common() if count >= LEAST},
        "long_side_pixels": quantiles([max(t.box[2] - t.box[0], t.box[3] - t.box[1]) for t in trees if t]),
        "single_aspect": quantiles([_aspect(t) for t in trees if t and not t.children]),
        "panel_aspect": quantiles(aspects),
        "gutter_pixels": {axis: quantiles([g for s in splits if s.axis == axis for g in gutters(s)]) for axis in "rc"},
        "share_of_mean": {axis: quantiles([v for s in splits if s.axis == axis for v in shares(s)]) for axis in "rc"},
        "equal_shares": {
            axis: round(float(np.mean([np.ptp(shares(s)) < 0.06 for s in splits if s.axis == axis])), 3)
            for axis in "rc"
        },
        "labeled_share": round(len(labels) / sum(map(len, figures)), 3),
        "label_height_pixels": quantiles([label[3] - label[1] for _, label in labels]),
        "label_left_of_width": quantiles([(label[0] - box[0]) / (box[2] - box[0]) for box, label in labels]),
        "label_top_of_height": quantiles([(label[1] - box[1]) / (box[3] - box[1]) for box, label in labels]),
    }


def _aspect(tree: Node) -> float:
    return (tree.box[2] - tree.box[0]) / max(tree.box[3] - tree.box[1], 1)


def read_layouts(path: Path) -> list[list[tuple[Rectangle, Rectangle | None]]]:
    """Panels of each figure with the boxes of their labels."""
    figures = defaultdict(list)
    with path.open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            box, label = (
                tuple(int(row[prefix + side]) for side in ("left", "top", "right", "bottom"))
                if row[f"{prefix}left"]
                else None
                for prefix in ("", "label_")
            )
            figures[row["figure"]].append((box, label))
    return list(figures.values())


def main() -> None:
    """Read, distill, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=Path, default=LAYOUTS)
    path = parser.parse_args().layouts
    if not path.is_file():
        parser.error(f"there is no file {path}: name one with --layouts, in the form that --help describes")
    STATISTICS.write_text(json.dumps(distill(read_layouts(path)), indent=1) + "\n")


if __name__ == "__main__":
    main()
