"""The twenty classes of the corpus, in the order of their label numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image, ImageDraw

from biomedica_kedro.corpus.panel import FigureClass, Panel, pick

_KINDS = (
    FigureClass("he", "hematoxylin and eosin histology", "Microscopy", "light microscopy"),
    FigureClass("ihc", "immunohistochemistry", "Immuno Assays", "immunohistochemistry"),
    FigureClass("fluorescence", "fluorescence microscopy", "Microscopy", "fluorescence microscopy"),
    FigureClass("sem", "scanning electron micrograph", "Microscopy", "scanning electron"),
    FigureClass("cxr", "chest radiograph", "Clinical Imaging", "x-ray radiography"),
    FigureClass("mri", "brain MRI", "Clinical Imaging", "magnetic resonance"),
    FigureClass("ct", "abdominal CT", "Clinical Imaging", "computerized tomography"),
    FigureClass("ultrasound", "ultrasound", "Clinical Imaging", "ultrasound"),
    FigureClass("fundus", "retinal fundus photograph", "Clinical Imaging", "eye"),
    FigureClass("dermoscopy", "dermoscopy", "Clinical Imaging", "skin lesion"),
    FigureClass("ecg", "electrocardiogram", "Clinical Imaging", "electrocardiography", 1.5),
    FigureClass("blot", "western blot", "Immuno Assays", "immunoblot"),
    FigureClass("bar_plot", "bar plot", "Plots and Charts", "bar plot", 1.2),
    FigureClass("line_plot", "line plot", "Plots and Charts", "line plot", 1.2),
    FigureClass("scatter_plot", "scatter plot", "Plots and Charts", "scatter plot", 1.1),
    FigureClass("heatmap", "heatmap", "Plots and Charts", "heatmap plot"),
    FigureClass("flowchart", "flowchart", "Illustrative Diagrams", "flowchart"),
    FigureClass("chemical_structure", "chemical structure", "Chemical Structures", "2D chemical structure", 1.2),
    FigureClass("table", "table rendered as an image", "Tables", "table", 1.3),
    FigureClass("map", "map", "Maps", "map"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swatch(Panel):
    """A plain picture in the color of its class."""

    color: str
    count: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        return cls(color=pick(rng, ("red", "green", "blue")), count=int(rng.integers(2, 9)))

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        number = _KINDS.index(self.kind)
        picture = Image.new("RGB", (width, height), f"hsl({number * 18}, 60%, {35 + 20 * (number % 3)}%)")
        draw = ImageDraw.Draw(picture)
        for _ in range(self.count):
            x, y = rng.uniform(0, 0.8, 2)
            draw.ellipse((x * width, y * height, (x + 0.15) * width, (y + 0.15) * height), fill=self.color)
        return picture

    def headline(self, rng: np.random.Generator) -> str:
        return f"{self.kind.noun} with {self.count} {self.color} marks"

    def remarks(self, rng: np.random.Generator) -> list[str]:
        return [f"Scale bar, {10 * int(rng.integers(1, 30))} µm."]

    @property
    def subject(self) -> str:
        return f"{self.color} marks in {self.kind.noun}"


def _swatch(kind: FigureClass) -> type[Panel]:
    class Swatch(_Swatch):
        kind: ClassVar[FigureClass]

    Swatch.kind = kind
    Swatch.__name__ = Swatch.__qualname__ = f"Swatch_{kind.id}"
    globals()[Swatch.__name__] = Swatch
    return Swatch


CLASSES: tuple[type[Panel], ...] = tuple(_swatch(kind) for kind in _KINDS)
