"""Plots of data: bars, lines and scattered points, drawn at twice the size and reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import font
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

Floats = npt.NDArray[np.float64]

COLORS = {
    "blue": "#2f6fb7", "orange": "#e8832a", "green": "#3a9a4b", "red": "#cc3333", "purple": "#8457a8",
    "gray": "#8a8a8a", "teal": "#1f9e9e", "pink": "#e07bb5", "brown": "#8a5a3b",
}  # fmt: skip
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
_OUTCOMES = (
    "tumor volume", "relative mRNA expression", "serum IL-6", "cell viability", "body weight", "plaque area",
    "blood glucose", "bacterial load", "survival", "enzyme activity", "heart rate", "bone mineral density",
    "reaction time", "CRP level",
)  # fmt: skip
_GROUPS = ("control", "vehicle", "low", "high", "KO", "WT", "placebo", "drug", "sham", "rescue")
_SCALE = 2


@dataclass(slots=True)
class Axes:
    """A plot's frame: turns data coordinates in 0..1 into pixels of a canvas twice the final size."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    size: int

    @classmethod
    def open(cls, width: int, height: int, *, x_name: str, y_name: str, boxed: bool) -> Axes:
        """White canvas with axes, ticks and names."""
        image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        axes = cls(image, ImageDraw.Draw(image), max(15, height * _SCALE // 22))
        axes._frame(x_name, y_name, boxed=boxed)
        return axes

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of a point."""
        width, height = self.image.size
        return width * (0.16 + 0.8 * x), height * (0.84 - 0.74 * y)

    def line(self, points: Sequence[tuple[float, float]], color: str, weight: int = 3) -> None:
        """A polyline."""
        self.draw.line([self.place(x, y) for x, y in points], fill=color, width=weight, joint="curve")

    def text(self, x: float, y: float, words: str, *, anchor: str = "mt", color: str = "black") -> None:
        """Words at a point."""
        self.draw.text(self.place(x, y), words, fill=color, font=font(self.size), anchor=anchor)

    def dot(self, x: float, y: float, color: str, radius: float, *, square: bool = False) -> None:
        """A marker."""
        px, py = self.place(x, y)
        box = (px - radius, py - radius, px + radius, py + radius)
        (self.draw.rectangle if square else self.draw.ellipse)(box, fill=color)

    def close(self) -> Image.Image:
        """The picture at its final size."""
        return self.image.reduce(_SCALE)

    def _frame(self, x_name: str, y_name: str, *, boxed: bool) -> None:
        corners = [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)]
        self.line([*corners, (1, 1), (0, 1)] if boxed else corners, "black", 3)
        for tick in range(6):
            at = tick / 5
            x, y = self.place(0, at)
            self.draw.line((x - 7, y, x, y), fill="black", width=2)
            self.draw.text((x - 10, y), f"{at:.1f}", fill="black", font=font(self.size - 3), anchor="rm")
        self.draw.text(
            (self.place(0.5, 0)[0], self.image.height - 6), x_name, fill="black", font=font(self.size), anchor="mb"
        )
        words = Image.new("L", (int(self.image.height * 0.9), self.size + 8))
        ImageDraw.Draw(words).text((words.width / 2, 2), y_name, fill=255, font=font(self.size), anchor="mt")
        upright = words.rotate(90, expand=True)
        self.image.paste("black", (4, int(self.place(0, 0.5)[1] - upright.height / 2)), upright)


def _levels(rng: np.random.Generator, trend: str, count: int) -> Floats:
    steps = np.linspace(0, 1, count)
    shape = {"rising": steps, "falling": 1 - steps, "peaking": 1 - np.abs(2 * steps - 1), "flat": np.full(count, 0.55)}[
        trend
    ]
    return np.clip(0.2 + 0.6 * shape + rng.normal(0, 0.035, count), 0.06, 0.92)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPlot(Panel):
    """Bars with error bars: one or two series, upright or lying."""

    kind: ClassVar[FigureClass] = FigureClass("bar_plot", "bar plot", "Plots and Charts", "bar plot", 1.2)
    outcome: str
    groups: tuple[str, ...]
    colors: tuple[str, ...]
    trend: str
    horizontal: bool
    p_value: str

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw outcome, groups, colors and the trend over the groups."""
        return cls(
            outcome=pick(rng, _OUTCOMES),
            groups=tuple(str(name) for name in rng.permutation(_GROUPS)[: int(rng.integers(3, 7))]),
            colors=tuple(str(name) for name in rng.permutation(list(COLORS))[: int(rng.integers(1, 3))]),
            trend=pick(rng, ("rising", "falling", "peaking")),
            horizontal=chance(rng, 0.25),
            p_value=f"0.{int(rng.integers(1, 49)):03d}",
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the bars."""
        names = ("", self.outcome)
        axes = Axes.open(
            width, height, x_name=names[self.horizontal], y_name=names[not self.horizontal], boxed=chance(rng, 0.3)
        )
        count, series = len(self.groups), len(self.colors)
        for number, color in enumerate(self.colors):
            levels = _levels(rng, self.trend, count) * (1 - 0.25 * number)
            for group, level in enumerate(levels):
                middle = (group + 0.5 + (number - (series - 1) / 2) * 0.36) / count
                half = 0.3 / count if series == 1 else 0.17 / count
                if self.horizontal:
                    middle = 1 - middle
                self._bar(axes, middle, half, float(level), COLORS[color])
        for group, name in enumerate(self.groups):
            at = (group + 0.5) / count
            if self.horizontal:
                axes.text(0.02, 1 - at, name, anchor="lm")
            else:
                axes.text(at, -0.03, name)
        return axes.close()

    def _bar(self, axes: Axes, middle: float, half: float, level: float, color: str) -> None:
        error, edge = 0.05, half * 0.35
        corners = [(middle - half, 0.0), (middle + half, level)]
        whisker = [
            ((middle, level - error), (middle, level + error)),
            ((middle - edge, level + error), (middle + edge, level + error)),
        ]
        if self.horizontal:
            corners = [(y, x) for x, y in corners]
            whisker = [((b, a), (d, c)) for (a, b), (c, d) in whisker]
        (x0, y0), (x1, y1) = (axes.place(x, y) for x, y in corners)
        axes.draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=color, outline="black")
        for segment in whisker:
            axes.line(segment, "black", 3)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, outcome, colors, number of groups and trend."""
        bars = f"{'horizontal ' if self.horizontal else ''}{' and '.join(self.colors)} bars"
        change = {"rising": "increasing", "falling": "decreasing", "peaking": "peaking in the middle"}[self.trend]
        groups = NUMBERS[len(self.groups)]
        styles = (
            f"{self.kind.noun} of {self.outcome} in {groups} groups, {bars}, {change}",
            f"{self.outcome}: {self.kind.noun} with {bars} {change} over {groups} groups",
            f"{self.kind.noun} ({bars}) comparing {self.outcome} of {groups} groups, {change}",
            f"{change} {self.outcome} across {groups} groups, {self.kind.noun} with {bars}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Error bars and test."""
        return [f"Error bars, {pick(rng, ('SD', 'SEM', '95 % CI'))}; ANOVA, P = {self.p_value}."]

    @property
    def subject(self) -> str:
        """Outcome by group."""
        return f"{self.outcome} by treatment group"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlot(Panel):
    """Curves over time or dose."""

    kind: ClassVar[FigureClass] = FigureClass("line_plot", "line plot", "Plots and Charts", "line plot", 1.2)
    outcome: str
    axis: str
    colors: tuple[str, ...]
    trend: str
    markers: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw outcome, axis, colors and trend."""
        return cls(
            outcome=pick(rng, _OUTCOMES),
            axis=pick(rng, ("time (h)", "time (days)", "dose (µM)", "age (years)", "cycle")),
            colors=tuple(str(name) for name in rng.permutation(list(COLORS))[: int(rng.integers(1, 5))]),
            trend=pick(rng, ("rising", "falling", "peaking", "oscillating")),
            markers=chance(rng, 0.6),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the curves and their legend."""
        axes = Axes.open(width, height, x_name=self.axis, y_name=self.outcome, boxed=chance(rng, 0.4))
        x = np.linspace(0.02, 0.98, 9 if self.markers else 60)
        for number, color in enumerate(self.colors):
            y = np.clip(self._curve(rng, x) * (1 - 0.16 * number) + 0.02 * number, 0.03, 0.97)
            y += rng.normal(0, 0.012, len(x))
            points = list(zip(x.tolist(), y.tolist(), strict=True))
            axes.line(points, COLORS[color], 5)
            if self.markers:
                for px, py in points:
                    axes.line([(px, py - 0.035), (px, py + 0.035)], COLORS[color], 2)
                    axes.dot(px, py, COLORS[color], 8, square=number % 2 == 1)
            top = 0.97 - 0.075 * number
            left = 0.66 if self.trend == "falling" else 0.05
            axes.line([(left, top), (left + 0.08, top)], COLORS[color], 5)
            axes.text(left + 0.1, top, _GROUPS[(number * 3 + len(self.outcome)) % len(_GROUPS)], anchor="lm")
        return axes.close()

    def _curve(self, rng: np.random.Generator, x: Floats) -> Floats:
        shift, steep = rng.uniform(0.35, 0.6), rng.uniform(6, 12)
        sigmoid = 1 / (1 + np.exp(-steep * (x - shift)))
        if self.trend == "rising":
            return np.asarray(0.08 + 0.78 * sigmoid)
        if self.trend == "falling":
            return np.asarray(0.90 - 0.78 * sigmoid)
        if self.trend == "peaking":
            return np.asarray(0.1 + 0.75 * np.exp(-(((x - shift) / 0.2) ** 2)))
        return np.asarray(0.45 + 0.3 * np.sin(x * rng.uniform(14, 22) + rng.uniform(0, 1)))

    def headline(self, rng: np.random.Generator) -> str:
        """Class, outcome, colors and trend."""
        curves = f"{' and '.join(self.colors)} {'curve' if len(self.colors) == 1 else 'curves'}"
        marked = " with markers" if self.markers else ""
        axis = self.axis.partition(" (")[0]
        styles = (
            f"{self.kind.noun} of {self.outcome} against {axis}, {self.trend} {curves}{marked}",
            f"{self.outcome} over {axis}: {self.kind.noun} with {self.trend} {curves}{marked}",
            f"{self.trend} {self.outcome} by {axis}, {self.kind.noun}, {curves}{marked}",
            f"{self.kind.noun}, {curves}{marked} {self.trend} with {axis} ({self.outcome})",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """What the points are."""
        return ["Points are means; vertical bars, SEM." if self.markers else "Lines are fitted models."]

    @property
    def subject(self) -> str:
        """Outcome over its axis."""
        return f"{self.outcome} over {self.axis.partition(' (')[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterPlot(Panel):
    """Points: a correlation with its line, or clusters in two dimensions."""

    kind: ClassVar[FigureClass] = FigureClass("scatter_plot", "scatter plot", "Plots and Charts", "scatter plot", 1.1)
    outcome: str
    other: str
    pattern: str
    colors: tuple[str, ...]
    points: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw variables, pattern, colors and the number of points."""
        pattern = pick(rng, ("positive correlation", "negative correlation", "no correlation", "clusters"))
        count = int(rng.integers(2, 6)) if pattern == "clusters" else 1
        first, second = rng.permutation(_OUTCOMES)[:2]
        return cls(
            outcome=str(first),
            other=str(second),
            pattern=pattern,
            colors=tuple(str(name) for name in rng.permutation(list(COLORS))[:count]),
            points=10 * int(rng.integers(4, 25)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the points, and the line where there is a correlation."""
        grouped = self.pattern == "clusters"
        names = ("component 1", "component 2") if grouped else (self.other, self.outcome)
        axes = Axes.open(width, height, x_name=names[0], y_name=names[1], boxed=chance(rng, 0.5))
        if grouped:
            self._draw_clusters(rng, axes)
            return axes.close()
        slope = {"positive correlation": 0.75, "negative correlation": -0.75, "no correlation": 0.0}[self.pattern]
        x = rng.uniform(0.04, 0.96, self.points)
        spread = 0.09 if slope else 0.2
        y = np.clip(0.5 + slope * (x - 0.5) + rng.normal(0, spread, self.points), 0.02, 0.98)
        for px, py in zip(x.tolist(), y.tolist(), strict=True):
            axes.dot(px, py, COLORS[self.colors[0]], 7)
        axes.line([(0.03, 0.5 - slope * 0.47), (0.97, 0.5 + slope * 0.47)], "black", 4)
        return axes.close()

    def _draw_clusters(self, rng: np.random.Generator, axes: Axes) -> None:
        count = len(self.colors)
        turn = rng.uniform(0, 2 * np.pi)
        for number, color in enumerate(self.colors):
            angle = turn + 2 * np.pi * number / count
            center = np.asarray([0.5 + 0.3 * np.cos(angle), 0.5 + 0.3 * np.sin(angle)])
            spread = rng.uniform(0.035, 0.08, 2)
            for px, py in np.clip(rng.normal(center, spread, (self.points // count, 2)), 0.02, 0.98).tolist():
                axes.dot(px, py, COLORS[color], 6)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, variables, pattern and colors."""
        dots = f"{' and '.join(self.colors)} points"
        if self.pattern == "clusters":
            number = NUMBERS[len(self.colors)]
            styles: tuple[str, ...] = (
                f"{self.kind.noun} of samples in two dimensions, {number} clusters, {dots}",
                f"{self.kind.noun} with {number} separate clusters ({dots}), {self.outcome} subgroups",
                f"{number} clusters of {dots} in a {self.kind.noun} of principal components, {self.outcome}",
            )
        else:
            styles = (
                f"{self.kind.noun} of {self.outcome} against {self.other}, {self.pattern}, {dots}",
                f"{self.pattern} of {self.outcome} and {self.other}: {self.kind.noun}, {dots}",
                f"{self.kind.noun} ({dots}) showing {self.pattern} between {self.other} and {self.outcome}",
            )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Number of points and coefficient."""
        size = f"{self.points // len(self.colors) * len(self.colors)} samples."
        if self.pattern == "clusters":
            return [size]
        low, high = (0, 12) if self.pattern == "no correlation" else (78, 96)
        sign = "−" if self.pattern == "negative correlation" else ""
        return [size, f"Pearson r = {sign}0.{int(rng.integers(low, high)):02d}."]

    @property
    def subject(self) -> str:
        """The two variables."""
        return f"{self.outcome} and {self.other}"
