"""Tables rendered as images, and maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import (
    blobs,
    bump,
    font,
    fractal,
    grid,
    nearest,
    ramp,
    scattered,
    step,
    to_image,
    values_at,
)
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_SCALE = 2
_TOPICS = {
    "baseline characteristics": ("Age", "Female", "BMI", "Smoking", "Diabetes", "HbA1c", "LDL", "eGFR", "Stroke"),
    "adverse events": ("Nausea", "Headache", "Rash", "Fatigue", "Anemia", "Fever", "Cough", "Pain", "Edema", "Syncope"),
    "primer sequences": ("ACTB", "GAPDH", "TNF", "IL6", "CCL2", "VEGFA", "TP53", "MYC", "CDH1", "VIM"),
    "regression coefficients": ("Intercept", "Age", "Sex", "Dose", "Stage", "Grade", "Site", "Time"),
    "diagnostic accuracy": ("Reader 1", "Reader 2", "Model A", "Model B", "Model C", "Fusion", "T1", "T2", "DWI"),
}  # fmt: skip
_HEADERS = ("Total", "Cases", "Controls", "P", "95 % CI", "OR", "n")
_PRIMER_HEADERS = ("Forward", "Reverse", "Probe", "Nested F", "Nested R", "Control")
_STYLES = {
    "three-line": None,
    "blue header": "#2f5f9f",
    "green header": "#3a7d44",
    "gray striped": "#d9d9d9",
    "fully ruled": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableImage(Panel):
    """Rows and columns of numbers with a header."""

    kind: ClassVar[FigureClass] = FigureClass("table", "table rendered as an image", "Tables", "table", 1.3)
    topic: str
    style: str
    rows: int
    columns: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw topic, style and size."""
        return cls(
            topic=pick(rng, list(_TOPICS)),
            style=pick(rng, list(_STYLES)),
            rows=int(rng.integers(4, 11)),
            columns=int(rng.integers(3, 7)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw rules, header and cells."""
        image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        draw = ImageDraw.Draw(image)
        left, right, top = image.width * 0.03, image.width * 0.97, image.height * 0.06
        pitch = min(image.height * 0.9 / (self.rows + 1), image.height * 0.13)
        bottom = top + pitch * (self.rows + 1)
        size = round(min(pitch * 0.52, image.width / (self.columns * 5.2)))
        accent = _STYLES[self.style]
        if self.style.endswith("header"):
            draw.rectangle((left, top, right, top + pitch), fill=accent)
        if self.style == "gray striped":
            for row in range(0, self.rows + 1, 2):
                draw.rectangle((left, top + row * pitch, right, top + (row + 1) * pitch), fill=accent)
        self._rules(draw, (left, right), top, bottom, pitch)
        first = 0.28
        names = _TOPICS[self.topic]
        shift = int(rng.integers(len(names)))
        headers = _PRIMER_HEADERS if self.topic == "primer sequences" else _HEADERS
        for row in range(self.rows + 1):
            y = top + (row + 0.5) * pitch
            ink = "white" if row == 0 and self.style.endswith("header") else "black"
            words = "Variable" if row == 0 else names[(row + shift) % len(names)]
            draw.text((left + 8, y), words, fill=ink, font=font(size, bold=row == 0), anchor="lm")
            for column in range(1, self.columns):
                x = left + (right - left) * (first + (1 - first) * (column - 0.5) / (self.columns - 1))
                value = headers[(column + shift) % len(headers)] if row == 0 else _cell(rng, self.topic)
                draw.text((x, y), value, fill=ink, font=font(size, bold=row == 0), anchor="mm")
        return image.reduce(_SCALE)

    def _rules(
        self, draw: ImageDraw.ImageDraw, across: tuple[float, float], top: float, bottom: float, pitch: float
    ) -> None:
        left, right = across
        lines = [top, top + pitch, bottom]
        if self.style == "fully ruled":
            lines = [top + pitch * k for k in range(self.rows + 2)]
            first = left + (right - left) * 0.28
            edges = [left, right, *(first + (right - first) * k / (self.columns - 1) for k in range(self.columns - 1))]
            for x in edges:
                draw.line((x, top, x, bottom), fill="black", width=2)
        for y in lines:
            draw.line((left, y, right, y), fill="black", width=3)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, topic, style and size."""
        shape = f"{self.rows} rows and {self.columns} columns"
        styles = (
            f"{self.kind.noun}, {self.topic}, {self.style}, {shape}",
            f"{self.topic}: {self.kind.noun} ({self.style}) of {shape}",
            f"{self.style} {self.kind.noun} listing {self.topic} in {shape}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """What the numbers are."""
        return [
            pick(
                rng,
                ("Values are median (range).", "Values are n (%).", "Data are mean ± SD."),
            )
        ]

    @property
    def subject(self) -> str:
        """The topic."""
        return self.topic


def _cell(rng: np.random.Generator, topic: str) -> str:
    if topic == "primer sequences":
        return "".join(pick(rng, "ACGT") for _ in range(6))
    return f"{rng.uniform(0, 99):.1f}" if chance(rng, 0.7) else f"{rng.integers(1, 99)} ({rng.integers(1, 60)})"


_PALETTES = {
    "red": ((1.0, 0.94, 0.88), (0.99, 0.57, 0.45), (0.60, 0.0, 0.05)),
    "blue": ((0.93, 0.96, 1.0), (0.42, 0.68, 0.84), (0.03, 0.19, 0.42)),
    "green": ((0.95, 0.98, 0.93), (0.45, 0.77, 0.46), (0.0, 0.27, 0.11)),
    "purple": ((0.97, 0.95, 0.98), (0.62, 0.60, 0.78), (0.25, 0.0, 0.49)),
    "orange": ((1.0, 0.96, 0.90), (0.99, 0.68, 0.38), (0.50, 0.15, 0.02)),
}
_QUANTITIES = (
    "malaria incidence", "dengue cases", "vaccination coverage", "sampling sites",
    "prevalence of anemia", "tick density", "hospital density", "air pollution", "schistosomiasis risk",
    "antibiotic use",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionMap(Panel):
    """An invented country: districts shaded by value, with or without sites."""

    kind: ClassVar[FigureClass] = FigureClass("map", "map", "Maps", "map")
    quantity: str
    color: str
    gradient: str
    sites: int
    coastal: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw quantity, color, gradient, sites and coast."""
        return cls(
            quantity=pick(rng, _QUANTITIES),
            color=pick(rng, list(_PALETTES)),
            gradient=pick(rng, ("north", "south", "east", "west")),
            sites=pick(rng, (0, 0, 12, 25)),
            coastal=chance(rng, 0.6),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw sea, districts, borders, sites, legend, north arrow and scale."""
        x, y = grid(width, height)
        seeds = scattered(rng, width, height, 0.34, 0.42)
        warp = 0.07 * fractal(rng, width, height, 7)
        margin, owner = nearest(x + warp, y - 0.8 * warp, seeds)
        toward = {"north": -seeds[:, 1], "south": seeds[:, 1], "east": seeds[:, 0], "west": -seeds[:, 0]}[self.gradient]
        value = np.clip(0.5 + 0.42 * toward + rng.normal(0, 0.1, len(seeds)), 0, 1).astype(np.float32)
        classes = np.floor(value * 4.99) / 4
        picture = ramp(classes[owner], _PALETTES[self.color])
        border = bump(margin, 0.012)
        picture = picture * (1 - 0.75 * border[..., None])
        shore = 0.76 - np.hypot(x * 0.95, y * 1.02) + 0.14 * fractal(rng, width, height, 3, 4)
        land = step(shore, 0.012)
        sea = np.asarray((0.80, 0.90, 0.97) if self.coastal else (1, 1, 1), np.float32)
        picture = sea + land[..., None] * (picture - sea)
        picture = picture * (1 - 0.8 * bump(shore, 0.008)[..., None])
        if self.sites:
            points = rng.uniform(-0.7, 0.7, (self.sites * 3, 2)).astype(np.float32)
            points = points[values_at(land, points) > 0.5][: self.sites]
            for size, ink in ((0.038, 0.0), (0.026, 1.0)):
                dots = blobs(width, height, points, np.full((len(points), 2), size), soften=0.5)
                picture = picture + dots[..., None] * (
                    np.asarray((1.0 * ink, 0.85 * ink, 0.1 * ink), np.float32) - picture
                )
        image = to_image(picture)
        self._annotate(image)
        return image

    def _annotate(self, image: Image.Image) -> None:
        draw = ImageDraw.Draw(image)
        width, height = image.size
        x, y, size = width * 0.93, height * 0.05, height * 0.09
        draw.polygon(
            [(x, y), (x - size * 0.3, y + size), (x, y + size * 0.75), (x + size * 0.3, y + size)], fill="black"
        )
        draw.text((x, y + size * 1.05), "N", fill="black", font=font(height // 20), anchor="mt")
        draw.rectangle((width * 0.04, height * 0.955, width * 0.24, height * 0.965), fill="black")
        draw.text((width * 0.14, height * 0.945), "100 km", fill="black", font=font(height // 24), anchor="mb")
        colors = ramp(np.linspace(0, 1, 5, dtype=np.float32)[:, None], _PALETTES[self.color])[:, 0]
        for k, color in enumerate((colors * 255).astype(int).tolist()):
            top = height * (0.95 - 0.045 * (k + 1))
            draw.rectangle((width * 0.9, top, width * 0.96, top + height * 0.04), fill=tuple(color), outline="black")

    def headline(self, rng: np.random.Generator) -> str:
        """Class, quantity, color, direction and sites."""
        dots = f", {self.sites} yellow sampling sites" if self.sites else ""
        coast = ", surrounded by blue sea" if self.coastal else ""
        where = f"highest in the {self.gradient}"
        styles = (
            f"{self.kind.noun} of {self.quantity} by district, {self.color} shading, {where}{dots}{coast}",
            f"{self.quantity}, {where}: {self.color} {self.kind.noun} of districts{dots}{coast}",
            f"district {self.kind.noun} in {self.color} showing {self.quantity} {where}{dots}{coast}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Scale and year."""
        return ["Scale bar, 100 km.", f"Data of {int(rng.integers(2001, 2025))}; darker is higher."]

    @property
    def subject(self) -> str:
        """The quantity."""
        return f"{self.quantity} by district"
