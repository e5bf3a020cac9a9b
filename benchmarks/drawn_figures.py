"""Compound figures drawn with the layouts of real ones: arrangements, sizes, gutters, labels, legends and insets.

Numbers come from `layout_statistics.json`, the content of panels from the embedded corpus, and all else (backgrounds,
frames, color bars, insets, column titles, JPEG) from the shares below, which are guesses. A panel's true box holds its
label, axes, legend and color bar, as people draw it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import font
from biomedica_corpus.classes import CLASSES
from biomedica_corpus.panel import Panel
from biomedica_kedro.images.boxes import Box

STATISTICS = json.loads(Path(__file__).with_name("layout_statistics.json").read_text())
PHOTOGRAPHS, CHARTS = CLASSES[:10], CLASSES[10:]
_FRAMES, _INSETS, _COLOR_BARS, _LEGENDS, _SHARED_LEGENDS = 0.12, 0.12, 0.15, 0.15, 0.05
_SUBPLOTS, _FORMULAS = 0.25, 0.15
_GRAY_PAGES, _BLACK_PAGES, _BLURRED = 0.05, 0.07, 0.3
_LEAST_SIDE = 24
_POOL_SIZE, _POOL_PIXELS = 8, 384


@dataclass(frozen=True)
class DrawnFigure:
    """A figure with what is true of it.

    Attributes:
        image: RGB.
        caption: names the labels that are drawn.
        boxes: panels in order of their labels.
        labels: drawn letters, empty where there are none.
        gutter: pixels of the smallest gutter; None for a single panel.
        page: tone of the background.
    """

    image: Image.Image
    caption: str
    boxes: tuple[Box, ...]
    labels: str
    gutter: int | None
    page: int


@dataclass(frozen=True)
class Style:
    """What the panels of a figure have in common."""

    kinds: tuple[type[Panel], ...]
    page: int
    gutter_rank: float
    is_labeled: bool
    case: str
    mark: str
    label_height: int
    label_place: tuple[float, float]
    is_outside: bool
    has_frames: bool
    seed: int
    pool: int


def draw_figures(count: int, seed: int, pool: int = 7) -> Iterator[DrawnFigure]:
    """Figures in the proportions of real ones.

    Args:
        count: figures to begin; those with panels too small to see are left out.
        seed: of all that is drawn by chance, except the photographs.
        pool: seed of the photographs that panels are cut from; those of another pool are other pictures.
    """
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        if rng.random() < STATISTICS["single_share"] * _FORMULAS:
            yield _formula(rng)
            continue
        arrangement = "p" if rng.random() < STATISTICS["single_share"] else _arrangement(rng)
        if (figure := draw_figure(rng, arrangement, pool)) is not None:
            yield figure


def draw_figure(rng: np.random.Generator, arrangement: str, pool: int = 7) -> DrawnFigure | None:
    """One figure; None where a panel would be too small to see."""
    tree = _parse(arrangement)
    style = _style(rng, pool, is_single=tree == "p")
    columns, rows = _extent(tree)
    aspect = _at(STATISTICS["panel_aspect" if tree != "p" else "single_aspect"], rng.random()) * columns / rows
    aspect = float(np.clip(aspect, 0.25, 4))
    long_side = min(_at(STATISTICS["long_side_pixels"], rng.random()), 1200.0)
    width, height = (long_side, long_side / aspect) if aspect > 1 else (long_side * aspect, long_side)
    margin = int(rng.integers(0, 12))
    boxes, gutters = _lay_out(rng, tree, (margin, margin, int(width), int(height)), style)
    if min(min(box.width, box.height) for box in boxes) < _LEAST_SIDE:
        return None
    foot = int(rng.integers(18, 40)) if rng.random() < _SHARED_LEGENDS and len(boxes) > 1 else 0
    page = Image.new("RGB", (int(width) + 2 * margin, int(height) + 2 * margin + foot), (style.page,) * 3)
    labels = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 2)[: len(boxes)] if style.is_labeled else ""
    labels = labels if style.case == "upper" else labels.lower()
    nouns = [
        _draw_panel(rng, page, box, label, style) for box, label in zip(boxes, labels or " " * len(boxes), strict=True)
    ]
    if foot:
        _draw_legend(rng, page, Box(page.height - foot, page.width // 4, page.height - 4, page.width // 2), style.page)
    caption = " ".join(
        ["A figure.", *(f"({label}) {noun}." for label, noun in zip(labels, nouns, strict=False))]
        if len(labels) > 1
        else [f"{nouns[0]}."]
    )
    image = _published(rng, page)
    return DrawnFigure(image, caption, tuple(boxes), labels, min(gutters, default=None), style.page)


def _style(rng: np.random.Generator, pool: int, *, is_single: bool) -> Style:
    group = (PHOTOGRAPHS, CHARTS, CLASSES)[int(rng.choice(3, p=[0.5, 0.3, 0.2]))]
    kinds = (group[int(rng.integers(len(group)))],) if rng.random() < 0.5 else group
    top = _at(STATISTICS["label_top_of_height"], rng.random())
    share = STATISTICS["labeled_share"]
    page = 255
    if group is PHOTOGRAPHS and rng.random() < 2 * _BLACK_PAGES:
        page = 0
    elif rng.random() < _GRAY_PAGES:
        page = int(rng.choice([60, 128, 190, 225]))
    return Style(
        kinds=kinds,
        page=page,
        gutter_rank=rng.random(),
        is_labeled=rng.random() < (0.1 if is_single else share),
        case="upper" if rng.random() < 0.77 else "lower",
        mark=str(rng.choice(["{}", "{}", "{}", "({})", "{})", "{}."])),
        label_height=int(np.clip(_at(STATISTICS["label_height_pixels"], rng.random()), 9, 40)),
        label_place=(0.02 if rng.random() < 0.85 else 0.5, top),
        is_outside=top < 0.1 and rng.random() < 0.45,
        has_frames=rng.random() < _FRAMES,
        seed=int(rng.integers(2**31)),
        pool=pool,
    )


def _lay_out(
    rng: np.random.Generator, tree: str | tuple, place: tuple[int, int, int, int], style: Style
) -> tuple[list[Box], list[int]]:
    """Boxes of the panels of a tree within left, top, width and height, and the gutters between them."""
    left, top, width, height = place
    if tree == "p":
        return [Box(top, left, top + height, left + width)], []
    axis, children = tree
    rank = float(np.clip(style.gutter_rank + rng.normal(0, 0.03), 0, 1))
    gutter = min(round(_at(STATISTICS["gutter_pixels"][axis], rank)), 60)
    length = height if axis == "r" else width
    extents = np.array([_extent(child)[1 if axis == "r" else 0] for child in children], dtype=float)
    if rng.random() > STATISTICS["equal_shares"][axis]:
        extents *= [_at(STATISTICS["share_of_mean"][axis], rng.random()) for _ in children]
    ends = np.cumsum(extents / extents.sum() * (length - gutter * (len(children) - 1)))
    boxes, gutters, start = [], [gutter] * (len(children) - 1), 0.0
    for i, (child, end) in enumerate(zip(children, ends, strict=True)):
        first, last = round(start) + i * gutter, round(float(end)) + i * gutter
        inner = (left, top + first, width, last - first) if axis == "r" else (left + first, top, last - first, height)
        more, deeper = _lay_out(rng, child, inner, style)
        boxes, gutters, start = [*boxes, *more], [*gutters, *deeper], float(end)
    return boxes, gutters


def _draw_panel(rng: np.random.Generator, page: Image.Image, box: Box, label: str, style: Style) -> str:
    """Content, color bar or legend, inset, frame, label; the noun of what is shown."""
    kind = style.kinds[int(rng.integers(len(style.kinds)))]
    is_photograph = kind in PHOTOGRAPHS
    content = box
    height = min(style.label_height, box.height // 4)
    outside = style.is_outside and label.strip() and page.size and box.height > 4 * height
    if outside:
        content = Box(box.top + height + 2, box.left, box.bottom, box.right)
    if content.width > 120 and not outside and rng.random() < (_COLOR_BARS if is_photograph else _LEGENDS):
        strip = round(content.width * rng.uniform(0.12, 0.2))
        gap = int(rng.integers(3, 14))
        beside = Box(content.top, content.right - strip + gap, content.bottom, content.right)
        content = Box(content.top, content.left, content.bottom, content.right - strip)
        (_draw_color_bar if is_photograph else _draw_legend)(rng, page, beside, style.page)
    if not is_photograph and label.strip() and content.width > 120 and rng.random() < _SUBPLOTS:
        _draw_subplots(rng, page, content, style)
    else:
        picture = _photograph(rng, kind, content, style.pool) if is_photograph else _chart(rng, kind, content)
        page.paste(picture, (content.left, content.top))
    draw = ImageDraw.Draw(page)
    if is_photograph and min(content.width, content.height) > 100 and rng.random() < _INSETS:
        _draw_inset(rng, page, kind, content, style.pool)
    if style.has_frames:
        draw.rectangle((content.left, content.top, content.right - 1, content.bottom - 1), outline=(0, 0, 0))
    if label.strip():
        _draw_label(page, box, content, style.mark.format(label), style, bool(outside), height)
    return kind.kind.noun


def _draw_subplots(rng: np.random.Generator, page: Image.Image, content: Box, style: Style) -> None:
    """Two or three charts of one panel: only the label says that they belong together."""
    count = int(rng.integers(2, 4))
    gap = int(rng.integers(2, 16))
    if across := content.width > content.height:
        width, height = (content.width - gap * (count - 1)) // count, content.height
    else:
        width, height = content.width, (content.height - gap * (count - 1)) // count
    kinds = [kind for kind in style.kinds if kind in CHARTS]
    for i in range(count):
        left, top = (
            (content.left + i * (width + gap), content.top)
            if across
            else (content.left, content.top + i * (height + gap))
        )
        kind = kinds[int(rng.integers(len(kinds)))]
        page.paste(_chart(rng, kind, Box(top, left, top + height, left + width)), (left, top))


def _draw_label(page: Image.Image, box: Box, content: Box, text: str, style: Style, outside: bool, height: int) -> None:
    draw = ImageDraw.Draw(page)
    face = font(max(8, round(height * 1.3)), bold=style.seed % 2 == 0)
    left, top = box.left, box.top
    if not outside:
        place = style.label_place
        left = content.left + 3 + round(place[0] * (content.width - 2 * height))
        top = content.top + 2 + round(min(place[1], 0.95) * max(content.height - 1.5 * height, 0))
    bounds = draw.textbbox((left, top), text, font=face)
    region = np.asarray(page.crop(tuple(map(int, bounds))).convert("L"))
    ink = 0 if region.size == 0 or region.mean() > 110 else 255
    if not outside and style.seed % 5 == 0:
        draw.rectangle((bounds[0] - 2, bounds[1] - 2, bounds[2] + 2, bounds[3] + 2), fill=(255 - ink,) * 3)
    draw.text((left, top - (bounds[1] - top if outside else 0)), text, fill=(ink,) * 3, font=face)


def _draw_color_bar(rng: np.random.Generator, page: Image.Image, box: Box, tone: int) -> None:
    width = max(4, min(box.width // 2, 16))
    ramp = np.linspace(1, 0, box.height)[:, None, None]
    colors = rng.uniform(0, 255, (2, 3))
    bar = np.broadcast_to(colors[0] * ramp + colors[1] * (1 - ramp), (box.height, width, 3))
    page.paste(Image.fromarray(bar.astype(np.uint8)), (box.left, box.top))
    draw, ink = ImageDraw.Draw(page), (0,) * 3 if tone > 110 else (255,) * 3
    for share in (0.02, 0.5, 0.9):
        draw.text(
            (box.left + width + 2, box.top + share * box.height),
            f"{share:.1f}",
            fill=ink,
            font=font(min(9, box.width // 2)),
        )


def _draw_legend(rng: np.random.Generator, page: Image.Image, box: Box, tone: int) -> None:
    draw, ink = ImageDraw.Draw(page), (0,) * 3 if tone > 110 else (255,) * 3
    top = box.top + box.height // 3
    for name in rng.choice(["WT", "KO", "low", "high", "sham", "treated"], size=2, replace=False):
        color = tuple(int(value) for value in rng.integers(0, 200, 3))
        draw.rectangle((box.left, top + 2, box.left + 8, top + 8), fill=color)
        draw.text((box.left + 11, top - 1), str(name), fill=ink, font=font(9))
        top += 13


def _draw_inset(rng: np.random.Generator, page: Image.Image, kind: type[Panel], content: Box, pool: int) -> None:
    side = round(min(content.width, content.height) * rng.uniform(0.25, 0.4))
    left = content.left if rng.random() < 0.5 else content.right - side
    top = content.bottom - side
    page.paste(_photograph(rng, kind, Box(0, 0, side, side), pool), (left, top))
    ink = (255,) * 3 if rng.random() < 0.7 else (0,) * 3
    ImageDraw.Draw(page).rectangle(
        (left, top, left + side - 1, top + side - 1), outline=ink, width=int(rng.integers(1, 4))
    )


def _formula(rng: np.random.Generator) -> DrawnFigure:
    """Lines of a formula: a single panel full of gaps, often small."""
    size = int(rng.integers(9, 24))
    face = font(size)
    lines = int(rng.choice([1, 1, 1, 2, 3, 4]))
    step = round(size * rng.uniform(1.3, 2.4))
    page = Image.new("RGB", (size * 40, lines * step + size), "white")
    draw = ImageDraw.Draw(page)
    columns = sorted(rng.integers(0, size * 14, size=int(rng.integers(1, 4))).tolist())
    for line in range(lines):
        left = 0
        for column in columns:
            left = max(left + size, column)
            words = rng.choice(
                ["P(x,y)", "=", "θ(k)", "+", "if x < y", "−", "x", "∫", "D", "(1 − c)"], size=rng.integers(1, 5)
            )
            text, top = " ".join(words), line * step + size // 4
            draw.text((left, top), text, fill="black", font=face)
            width = round(draw.textlength(text, font=face))
            if lines > 1 and rng.random() < 0.3:
                draw.line((left, top + step * 1.1, left + width, top + step * 1.1), fill="black")
            left += width
    box = Image.eval(page.convert("L"), lambda value: 255 - value).getbbox() or (0, 0, 40, 20)
    margin = int(rng.integers(0, 5))
    page = page.crop((box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin))
    page = Image.composite(page, Image.new("RGB", page.size, "white"), Image.new("L", page.size, 255))
    return DrawnFigure(page, "", (Box(0, 0, page.height, page.width),), "", None, 255)


@cache
def _pool(kind: type[Panel], seed: int) -> tuple[Image.Image, ...]:
    pictures = []
    for number in range(_POOL_SIZE):
        rng = np.random.default_rng([seed, CLASSES.index(kind), number])
        pictures.append(kind.sample(rng).paint(rng, _POOL_PIXELS, round(_POOL_PIXELS / kind.kind.aspect)))
    return tuple(pictures)


def _photograph(rng: np.random.Generator, kind: type[Panel], box: Box, pool: int) -> Image.Image:
    """A piece of a photograph in the shape of a box."""
    picture = _pool(kind, pool)[int(rng.integers(_POOL_SIZE))]
    scale = max(box.width / picture.width, box.height / picture.height) * rng.uniform(1.0, 1.5)
    width, height = round(box.width / scale), round(box.height / scale)
    left, top = (
        int(rng.integers(0, max(1, full - part))) for full, part in ((picture.width, width), (picture.height, height))
    )
    return picture.crop((left, top, left + max(1, width), top + max(1, height))).resize((box.width, box.height))


def _chart(rng: np.random.Generator, kind: type[Panel], box: Box) -> Image.Image:
    return kind.sample(rng).paint(rng, box.width, box.height).resize((box.width, box.height))


def _published(rng: np.random.Generator, page: Image.Image) -> Image.Image:
    """As a publisher would store it: sometimes softened, always JPEG."""
    if rng.random() < _BLURRED:
        large = page.resize((round(page.width * 1.6), round(page.height * 1.6)), Image.Resampling.BICUBIC)
        page = large.resize(page.size, Image.Resampling.BILINEAR)
    content = io.BytesIO()
    page.save(content, "JPEG", quality=int(rng.integers(70, 95)))
    return Image.open(content).convert("RGB")


def _arrangement(rng: np.random.Generator) -> str:
    names, counts = zip(*STATISTICS["arrangements"].items(), strict=True)
    return names[int(rng.choice(len(names), p=np.array(counts) / sum(counts)))]


def _parse(arrangement: str) -> str | tuple[str, list]:
    stack: list[list] = [[]]
    for token in re.findall(r"[rc]\(|p|\)", arrangement):
        if token == ")":
            axis, *children = stack.pop()
            stack[-1].append((axis, children))
        elif token == "p":
            stack[-1].append("p")
        else:
            stack.append([token[0]])
    return stack[0][0]


def _extent(tree: str | tuple) -> tuple[float, float]:
    """Columns and rows that a tree takes."""
    if tree == "p":
        return 1.0, 1.0
    extents = [_extent(child) for child in tree[1]]
    widths, heights = zip(*extents, strict=True)
    return (max(widths), sum(heights)) if tree[0] == "r" else (sum(widths), max(heights))


def _at(quantiles: Sequence[float], rank: float) -> float:
    return float(np.interp(100 * rank, STATISTICS["percents"], quantiles))
