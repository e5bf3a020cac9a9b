"""Drawn and lettered figures: flowcharts and skeletal formulae."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import font
from biomedica_corpus.charts import NUMBERS
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_SCALE = 2
_FILLS = {
    "blue": "#cfe2f6",
    "green": "#d3efd3",
    "yellow": "#fff2bf",
    "gray": "#e6e6e6",
    "pink": "#f9d5e3",
    "white": "#ffffff",
}
_LINES = {
    "blue": "#1f4f8f",
    "green": "#2c7a2c",
    "yellow": "#a07a00",
    "gray": "#444444",
    "pink": "#a83a6a",
    "white": "#000000",
}
_STEPS = {
    "patient selection": ("Assessed", "Excluded", "Eligible", "Consented", "Randomized", "Followed up", "Analyzed"),
    "study design": ("Recruitment", "Screening", "Baseline", "Intervention", "Follow-up", "Sampling", "Analysis"),
    "image processing": ("Acquisition", "Registration", "Denoising", "Segmentation", "Features", "Model", "Report"),
    "RNA sequencing": ("Tissue", "Isolation", "Library", "Sequencing", "Trimming", "Alignment", "Enrichment"),
    "literature search": ("Databases", "Records", "Screened", "Full texts", "Excluded", "Included", "Meta-analysis"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Flowchart(Panel):
    """Boxes and arrows, from top to bottom or from left to right."""

    kind: ClassVar[FigureClass] = FigureClass("flowchart", "flowchart", "Illustrative Diagrams", "flowchart")
    topic: str
    steps: int
    color: str
    direction: str
    decision: bool
    branch: bool
    people: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw topic, number of steps, color and shape."""
        return cls(
            topic=pick(rng, list(_STEPS)),
            steps=int(rng.integers(3, 7)),
            color=pick(rng, list(_FILLS)),
            direction=pick(rng, ("vertical", "vertical", "horizontal")),
            decision=chance(rng, 0.35),
            branch=chance(rng, 0.4),
            people=int(rng.integers(80, 900)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the boxes and their arrows."""
        image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        draw = ImageDraw.Draw(image)
        if self.direction == "vertical":
            self._draw_down(draw, image.size)
        else:
            self._draw_across(draw, image.size)
        return image.reduce(_SCALE)

    def _draw_down(self, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
        width, height = size
        pitch = height / self.steps
        middle = width * (0.36 if self.branch else 0.5)
        half = width * (0.27 if self.branch else 0.36)
        for number in range(self.steps):
            y = pitch * (number + 0.5)
            box = (middle - half, y - pitch * 0.33, middle + half, y + pitch * 0.27)
            if number:
                _arrow(draw, (middle, box[1] - pitch * 0.4), (middle, box[1]))
            self._box(draw, box, number)
            if self.branch and 0 < number < self.steps - 1:
                side = (width * 0.72, box[1] + pitch * 0.08, width * 0.97, box[3] - pitch * 0.08)
                _arrow(draw, (box[2], y - pitch * 0.03), (side[0], y - pitch * 0.03))
                draw.rectangle(side, fill="white", outline=_LINES[self.color], width=3)
                self._write(draw, side, f"n = {self.people // (7 * number)}")

    def _draw_across(self, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
        width, height = size
        columns = 3
        rows = -(-self.steps // columns)
        for number in range(self.steps):
            row, column = divmod(number, columns)
            x, y = width * (column + 0.5) / columns, height * (0.5 + (row - (rows - 1) / 2) * 0.34)
            box = (x - width * 0.125, y - height * 0.09, x + width * 0.125, y + height * 0.09)
            if column:
                _arrow(draw, (box[0] - width * 0.08, y), (box[0], y))
            elif row:
                turn = y - height * 0.17
                draw.line(
                    [(width * 5 / 6, turn - height * 0.08), (width * 5 / 6, turn), (x, turn)], fill="black", width=4
                )
                _arrow(draw, (x, turn), (x, box[1]))
            self._box(draw, box, number)

    def _box(self, draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], number: int) -> None:
        fill, line = _FILLS[self.color], _LINES[self.color]
        if self.decision and number == 1:
            x0, y0, x1, y1 = box
            grow = (y1 - y0) * 0.22
            corners = [((x0 + x1) / 2, y0 - grow), (x1, (y0 + y1) / 2), ((x0 + x1) / 2, y1 + grow), (x0, (y0 + y1) / 2)]
            draw.polygon(corners, fill=fill, outline=line, width=3)
        else:
            draw.rounded_rectangle(box, radius=10, fill=fill, outline=line, width=3)
        words = _STEPS[self.topic][number]
        if self.direction == "vertical":
            words += f" (n = {self.people - number * (self.people // 9)})"
        self._write(draw, box, words, room=0.68 if self.decision and number == 1 else 1.0)

    @staticmethod
    def _write(
        draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], words: str, *, room: float = 1.0
    ) -> None:
        size = round(min((box[3] - box[1]) * 0.42, 1.55 * room * (box[2] - box[0]) / max(len(words), 6)))
        draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), words, fill="black", font=font(size), anchor="mm")

    def headline(self, rng: np.random.Generator) -> str:
        """Class, topic, steps, color and shape."""
        extra = (" with a decision diamond" if self.decision else "") + (
            " and side boxes" if self.branch and self.direction == "vertical" else ""
        )
        color = "white" if self.color == "white" else f"{self.color}"
        styles = (
            f"{self.direction} {self.kind.noun} of {self.topic}, {NUMBERS[self.steps]} {color} boxes{extra}",
            f"{self.topic}: {self.direction} {self.kind.noun} in {NUMBERS[self.steps]} steps, {color} boxes{extra}",
            f"{self.kind.noun} ({self.direction}, {color}) of the {NUMBERS[self.steps]} steps of {self.topic}{extra}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Participants."""
        return [f"{self.people} entries at the start."]

    @property
    def subject(self) -> str:
        """The topic."""
        return self.topic


def _arrow(draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    draw.line((*start, *end), fill="black", width=4)
    dx, dy = np.sign(end[0] - start[0]), np.sign(end[1] - start[1])
    size = 11.0
    back = (end[0] - dx * size, end[1] - dy * size)
    draw.polygon(
        [
            end,
            (back[0] - dy * size * 0.6, back[1] + dx * size * 0.6),
            (back[0] + dy * size * 0.6, back[1] - dx * size * 0.6),
        ],
        fill="black",
    )


_ATOM_COLORS = {"N": "#2040d0", "O": "#d02020", "S": "#b59a00", "Cl": "#1f9a3a", "F": "#1f9a9a", "Br": "#8a3a1a"}
_ATOM_WORDS = {"N": "amine", "O": "hydroxyl", "S": "thioether", "Cl": "chlorine", "F": "fluorine", "Br": "bromine"}
_CLASSES = (
    "kinase inhibitor",
    "flavonoid",
    "alkaloid",
    "antibiotic candidate",
    "opioid analogue",
    "steroid precursor",
    "prodrug",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChemicalStructure(Panel):
    """A skeletal formula: fused or linked six-membered rings with substituents."""

    kind: ClassVar[FigureClass] = FigureClass(
        "chemical_structure", "chemical structure", "Chemical Structures", "2D chemical structure", 1.25
    )
    rings: int
    fused: bool
    atoms: tuple[str, ...]
    colored: bool
    compound: str
    family: str

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw rings, substituents and the compound's name."""
        return cls(
            rings=int(rng.integers(1, 5)),
            fused=chance(rng, 0.5),
            atoms=tuple(str(a) for a in rng.permutation(list(_ATOM_COLORS))[: int(rng.integers(1, 4))]),
            colored=chance(rng, 0.6),
            compound=f"{int(rng.integers(1, 40))}{pick(rng, 'abcde')}",
            family=pick(rng, _CLASSES),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw rings in a row, then chains that end in the substituents."""
        image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        draw = ImageDraw.Draw(image)
        reach = 1.74 if self.fused else 2.74  # of a ring to the next, in bonds
        bond = min(image.height * 0.17, image.width / (reach * (self.rings - 1) + 7.2))
        pitch = bond * reach
        left = image.width / 2 - pitch * (self.rings - 1) / 2
        centers = [(left + pitch * k, image.height * 0.47) for k in range(self.rings)]
        for number, center in enumerate(centers):
            self._ring(draw, center, bond, aromatic=number % 2 == 0)
            if number and not self.fused:
                edge = bond * np.sqrt(3) / 2
                draw.line(
                    (centers[number - 1][0] + edge, center[1], center[0] - edge, center[1]), fill="black", width=5
                )
        for number, atom in enumerate(self.atoms):
            self._chain(draw, centers, bond, number, atom)
        if chance(rng, 0.7):
            size = image.height // 14
            draw.text(
                (image.width / 2, image.height * 0.96),
                f"compound {self.compound}",
                fill="black",
                font=font(size),
                anchor="mb",
            )
        return image.reduce(_SCALE)

    @staticmethod
    def _corners(center: tuple[float, float], radius: float, start: float = np.pi / 2) -> list[tuple[float, float]]:
        return [
            (center[0] + radius * np.cos(start + k * np.pi / 3), center[1] - radius * np.sin(start + k * np.pi / 3))
            for k in range(6)
        ]

    def _ring(self, draw: ImageDraw.ImageDraw, center: tuple[float, float], bond: float, *, aromatic: bool) -> None:
        corners = self._corners(center, bond)
        draw.line([*corners, corners[0], corners[1]], fill="black", width=5, joint="curve")
        if aromatic:
            inner = self._corners(center, bond * 0.8)
            for k in (0, 2, 4):
                draw.line((*inner[k], *inner[k + 1]), fill="black", width=5)

    def _chain(
        self, draw: ImageDraw.ImageDraw, centers: list[tuple[float, float]], bond: float, number: int, atom: str
    ) -> None:
        edge, down = bond * np.sqrt(3) / 2, bond / 2
        ring = centers[-1] if number != 1 else centers[0]
        side = -1 if number == 1 else 1
        up = 1 if number == 2 else -1
        if number == 2:
            x, y = centers[len(centers) // 2][0], centers[0][1] + bond
            points = [(x, y), (x, y + bond * 0.85)]
        else:
            x, y = ring[0] + side * edge, ring[1] + up * down
            points = [(x, y), (x + side * edge, y - down), (x + side * 2 * edge, y)][
                : 2 + (len(self.atoms) + number) % 2
            ]
        draw.line(points, fill="black", width=5, joint="curve")
        end, size = points[-1], round(bond * 0.62)
        words = {"N": "NH₂", "O": "OH", "S": "SCH₃"}.get(atom, atom)
        color = _ATOM_COLORS[atom] if self.colored else "black"
        box = draw.textbbox(end, words, font=font(size), anchor="mm")
        draw.rectangle(box, fill="white")
        draw.text(end, words, fill=color, font=font(size), anchor="mm")

    def headline(self, rng: np.random.Generator) -> str:
        """Class, rings, substituents and colors."""
        count = (
            "one six-membered ring"
            if self.rings == 1
            else f"{NUMBERS[self.rings]} {'fused' if self.fused else 'linked'} rings"
        )
        parts = " and ".join(_ATOM_WORDS[a] for a in self.atoms)
        ink = "colored heteroatoms" if self.colored else "black drawing"
        styles = (
            f"{self.kind.noun} of compound {self.compound}, {count}, {parts} substituents, {ink}",
            f"2D {self.kind.noun} with {count} bearing {parts}, {self.family} {self.compound}, {ink}",
            f"{self.family} {self.compound}: {self.kind.noun} of {count} with {parts} ({ink})",
            f"{count} with {parts} in the {self.kind.noun} of {self.family} {self.compound}, {ink}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Potency."""
        return [f"IC50 = {int(rng.integers(2, 900))} nM; molecular weight, {int(rng.integers(180, 620))}."]

    @property
    def subject(self) -> str:
        """The compound."""
        return f"a {self.family} with {_ATOM_WORDS[self.atoms[0]]} substitution"
