"""Heat maps: colored matrices of blocks, diagonals and gradients, with a color bar and often a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import font, ramp
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_SCALE = 2
_MAPS = {
    "blue-white-red": ((0.13, 0.3, 0.65), (0.96, 0.96, 0.96), (0.75, 0.1, 0.15)),
    "viridis": ((0.27, 0.0, 0.33), (0.23, 0.32, 0.55), (0.13, 0.57, 0.55), (0.37, 0.79, 0.38), (0.99, 0.91, 0.14)),
    "magma": ((0.0, 0.0, 0.02), (0.32, 0.07, 0.48), (0.72, 0.22, 0.47), (0.99, 0.62, 0.43), (0.99, 0.99, 0.75)),
    "green-black-red": ((0.1, 0.85, 0.15), (0.02, 0.02, 0.02), (0.9, 0.1, 0.1)),
    "white-blue": ((0.97, 0.98, 1.0), (0.42, 0.68, 0.84), (0.03, 0.19, 0.42)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap(Panel):
    """A colored matrix: blocks of co-expressed genes, or correlations."""

    kind: ClassVar[FigureClass] = FigureClass("heatmap", "heatmap", "Plots and Charts", "heatmap plot")
    colors: str
    structure: str
    rows: int
    columns: int
    dendrogram: bool
    content: str

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw color map, structure and size."""
        structure = pick(rng, ("two blocks", "three blocks", "a diagonal", "a gradient"))
        rows = int(rng.integers(8, 30))
        return cls(
            colors=pick(rng, list(_MAPS)),
            structure=structure,
            rows=rows,
            columns=rows if structure == "a diagonal" else int(rng.integers(6, 24)),
            dendrogram=chance(rng, 0.45),
            content=pick(
                rng, ("gene expression", "metabolite levels", "protein abundance", "microbial abundance", "methylation")
            ),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the matrix, its color bar and a dendrogram."""
        image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        draw = ImageDraw.Draw(image)
        cells = ramp(self._values(rng).astype(np.float32), _MAPS[self.colors])
        left, top = image.width * 0.06, image.height * (0.2 if self.dendrogram else 0.06)
        right, bottom = image.width * 0.8, image.height * 0.88
        matrix = Image.fromarray((cells * 255).astype(np.uint8))
        size = (round(right - left), round(bottom - top))
        image.paste(matrix.resize(size, Image.Resampling.NEAREST), (round(left), round(top)))
        bar = ramp(np.linspace(1, 0, 64, dtype=np.float32)[:, None], _MAPS[self.colors])
        strip = Image.fromarray((bar * 255).astype(np.uint8)).resize((image.width // 22, image.height // 3))
        place = (round(image.width * 0.85), round(top))
        image.paste(strip, place)
        draw.rectangle((*place, place[0] + strip.width, place[1] + strip.height), outline="black")
        for value, level in (("high", place[1]), ("low", place[1] + strip.height)):
            draw.text(
                (place[0] + strip.width + 4, level), value, fill="black", font=font(image.height // 30), anchor="lm"
            )
        for row in range(min(self.rows, 14)):
            y = top + (row + 0.5) * (bottom - top) / min(self.rows, 14)
            draw.text((right + 4, y), f"g{row * 7 % 97 + 1}", fill="black", font=font(image.height // 40), anchor="lm")
        draw.text(
            ((left + right) / 2, image.height * 0.97),
            self.content,
            fill="black",
            font=font(image.height // 24),
            anchor="mb",
        )
        if self.dendrogram:
            self._draw_tree(draw, (left, right), (image.height * 0.02, top - 2))
        return image.reduce(_SCALE)

    def _values(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        r, c = np.meshgrid(np.linspace(0, 1, self.rows), np.linspace(0, 1, self.columns), indexing="ij")
        if self.structure == "two blocks":
            base = ((r < 0.5) == (c < 0.5)) * 0.7 + 0.15
        elif self.structure == "three blocks":
            base = (np.minimum(r * 3, 2.99).astype(int) == np.minimum(c * 3, 2.99).astype(int)) * 0.75 + 0.12
        elif self.structure == "a diagonal":
            base = 0.15 + 0.85 * np.exp(-(((r - c) / 0.16) ** 2))
        else:
            base = 0.05 + 0.9 * (0.5 * r + 0.5 * c)
        return np.asarray(np.clip(base + rng.normal(0, 0.1, base.shape), 0, 1))

    @staticmethod
    def _draw_tree(draw: ImageDraw.ImageDraw, across: tuple[float, float], down: tuple[float, float]) -> None:
        (left, right), (top, bottom) = across, down
        nodes = [left + (right - left) * (k + 0.5) / 8 for k in range(8)]
        level = bottom
        for depth in range(3):
            upper = bottom - (bottom - top) * (depth + 1) / 3.2
            for a, b in zip(nodes[::2], nodes[1::2], strict=True):
                draw.line([(a, level), (a, upper), (b, upper), (b, level)], fill="black", width=3)
            nodes, level = [(a + b) / 2 for a, b in zip(nodes[::2], nodes[1::2], strict=True)], upper

    def headline(self, rng: np.random.Generator) -> str:
        """Class, content, color map, structure and size."""
        tree = " and dendrogram" if self.dendrogram else ""
        styles = (
            f"{self.kind.noun}{tree} of {self.content}, {self.colors} color scale, {self.structure}",
            f"{self.content} as a {self.colors} {self.kind.noun}{tree} with {self.structure}, {self.rows} rows",
            f"{self.kind.noun} ({self.colors}){tree}: {self.structure} of {self.content}, {self.rows} × {self.columns}",
            f"{self.structure} in a {self.colors} {self.kind.noun}{tree} of {self.content}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Rows and columns."""
        return [f"{self.rows} rows, {self.columns} columns; values are z-scores."]

    @property
    def subject(self) -> str:
        """What the matrix holds."""
        return f"{self.content} profiles"
