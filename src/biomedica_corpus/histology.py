"""Stained tissue: hematoxylin and eosin sections of eight organs, and immunohistochemistry of tumors.

Dyes absorb light as Ruifrok and Johnston (2001) measured; an organ is where its eosin and its nuclei lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image

from biomedica_corpus.canvas import (
    Array,
    arrow,
    blend,
    blobs,
    bump,
    ellipse,
    flat,
    fractal,
    grain,
    grid,
    noise,
    scale_bar,
    scattered,
    stain,
    step,
    to_image,
    values_at,
)
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_HEMATOXYLIN = (0.65, 0.70, 0.29)
_EOSIN = (0.07, 0.85, 0.18)
_DAB = (0.27, 0.57, 0.78)
_SPACING = {10: 0.075, 20: 0.115, 40: 0.19}  # of nuclei, in coordinates
_SCALE_BARS = {10: "200 µm", 20: "100 µm", 40: "50 µm"}

# Where eosin is (0 white, 1 pink) and how likely a nucleus is, over the picture.
Tissue = tuple[Array, Array]
Organ = Callable[[np.random.Generator, int, int, float], Tissue]


def _liver(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    sinusoids = bump(noise(rng, width, height, 1.3 / spacing), 0.13)
    return 0.75 + 0.06 * noise(rng, width, height, 40) - 0.5 * sinusoids, flat(width, height, 0.75)


def _colon(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    x, y = grid(width, height)
    radius = 2.1 * spacing
    centers = scattered(rng, width, height, 2.35 * radius, 0.07)
    outer = blobs(width, height, centers, np.full((len(centers), 2), radius), soften=1)
    goblets = blobs(width, height, centers, np.full((len(centers), 2), 0.72 * radius), soften=1.5)
    lumen = blobs(width, height, centers, np.full((len(centers), 2), 0.26 * radius), soften=1)
    eosin = 0.5 + 0.1 * noise(rng, width, height, 30) + 0.1 * outer - 0.34 * goblets - 0.35 * lumen + 0 * x * y
    return eosin, 0.35 + 0.65 * outer - goblets


def _kidney(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    x, y = grid(width, height)
    center = (float(rng.uniform(-0.35, 0.35)), float(rng.uniform(-0.35, 0.35)))
    size = 3.3 * spacing
    capsule = ellipse(x, y, center, (size * 1.22, size * 1.22))
    tuft = step(size - np.hypot(x - center[0], y - center[1]) + 0.06 * noise(rng, width, height, 9), 0.04)
    tubules = scattered(rng, width, height, 2.5 * spacing, 0.15)
    walls = blobs(width, height, tubules, np.full((len(tubules), 2), 1.1 * spacing), soften=1)
    lumens = blobs(width, height, tubules, np.full((len(tubules), 2), 0.45 * spacing), soften=1.5)
    eosin = 0.3 + 0.5 * walls - 0.5 * lumens
    eosin = blend(blend(eosin, 0.03, capsule), 0.55 + 0.15 * noise(rng, width, height, 30), tuft)
    density = np.maximum((0.55 * walls - lumens) * (1 - capsule), 1.0 * tuft)
    return eosin, density


def _lung(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    septa = step(0.2 - np.abs(noise(rng, width, height, 0.42 / spacing)), 0.1)
    return 0.02 + 0.6 * septa, septa * 0.95 - 0.1


def _muscle(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    x, y = grid(width, height)
    angle = rng.uniform(0, np.pi)
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    waves = np.cos(across / np.float32(0.42 * spacing) + 0.5 * noise(rng, width, height, 2))
    gaps = step(waves - 0.86, 0.12)
    return 0.98 - 0.9 * gaps + 0.05 * noise(rng, width, height, 60), 0.85 * step(waves - 0.6, 0.2) - 0.2


def _brain(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    return 0.42 + 0.05 * fractal(rng, width, height, 25), flat(width, height, 0.17)


def _lymph_node(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    x, y = grid(width, height)
    center = (float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.3, 0.3)))
    pale = ellipse(x, y, center, (4 * spacing, 3.4 * spacing), soft=0.15)
    return 0.35 + 0.15 * pale, 3.0 - 2.5 * pale


def _skin(rng: np.random.Generator, width: int, height: int, spacing: float) -> Tissue:
    x, y = grid(width, height)
    ridges = 0.16 * np.sin(x * np.float32(rng.uniform(4, 7)) + np.float32(rng.uniform(0, 6)))
    edge = y + ridges + 0.04 * noise(rng, width, height, 6)
    epidermis = step(-0.05 - edge, 0.05) * step(edge + 0.62, 0.04)
    keratin = step(-0.6 - edge, 0.03) * step(edge + 0.78, 0.05)
    dermis = step(edge + 0.05, 0.06)
    fibers = np.abs(np.sin(edge * 22 + 2.5 * noise(rng, width, height, 5)))
    eosin = 0.5 * epidermis + keratin * 1.2 + dermis * (0.35 + 0.35 * fibers)
    return eosin, epidermis * 1.3 + 0.16 * dermis


ORGANS: dict[str, Organ] = {
    "liver": _liver,
    "colon": _colon,
    "kidney": _kidney,
    "lung": _lung,
    "skeletal muscle": _muscle,
    "brain": _brain,
    "lymph node": _lymph_node,
    "skin": _skin,
}
_SPECIES = ("human", "mouse", "rat", "porcine", "canine")
_FINDINGS = {
    "": "normal {organ} architecture",
    "inflammation": "dense lymphocytic infiltrate in the {organ}",
    "necrosis": "eosinophilic necrosis of the {organ} without nuclei",
    "hemorrhage": "red hemorrhage in the {organ}",
    "vacuoles": "white fat vacuoles in the {organ}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HematoxylinEosin(Panel):
    """A tissue section stained with hematoxylin and eosin."""

    kind: ClassVar[FigureClass] = FigureClass("he", "hematoxylin and eosin histology", "Microscopy", "light microscopy")
    organ: str
    finding: str
    species: str
    magnification: int
    shows_scale_bar: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw organ, finding, species and magnification."""
        return cls(
            organ=pick(rng, list(ORGANS)),
            finding=pick(rng, list(_FINDINGS)),
            species=pick(rng, _SPECIES),
            magnification=pick(rng, list(_SPACING)),
            shows_scale_bar=chance(rng, 0.6),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the section."""
        spacing = _SPACING[self.magnification]
        eosin, density = ORGANS[self.organ](rng, width, height, spacing)
        small = 0.62 if self.organ == "lymph node" else 1.0
        nuclei = _nuclei(rng, density, spacing * small)
        x, y = grid(width, height)
        focus = step(0.62 - np.hypot(x - 0.15, y + 0.1) + 0.13 * noise(rng, width, height, 4), 0.15)
        red = np.zeros_like(eosin)
        if self.finding == "inflammation":
            lymphocytes = _nuclei(rng, focus, 0.055 if self.magnification < 40 else 0.09)
            nuclei = np.maximum(nuclei * (1 - 0.4 * focus), lymphocytes * 1.1)
        elif self.finding == "necrosis":
            debris = 0.55 * _nuclei(rng, 1.6 * focus * (1 - focus), 0.05)
            dead = 0.95 + 0.12 * noise(rng, width, height, 16)
            nuclei, eosin = np.maximum(nuclei * (1 - focus), debris), blend(eosin, dead, focus)
        elif self.finding == "hemorrhage":
            cells = _nuclei(rng, focus * 1.5, spacing * 0.45)
            nuclei, eosin, red = nuclei * (1 - focus), eosin * (1 - 0.7 * focus), cells + 0.35 * focus
        elif self.finding == "vacuoles":
            points = scattered(rng, width, height, 0.9 * spacing)
            points = points[rng.random(len(points)) < 0.6]
            radii = rng.uniform(0.2, 0.46, (len(points), 1)).repeat(2, 1) * spacing
            holes = blobs(width, height, points, radii)
            nuclei, eosin = nuclei * (1 - holes), eosin * (1 - 0.95 * holes)
        strength = rng.uniform(0.85, 1.15, 2)
        eosin = np.clip(eosin, 0, 1.4) * (1 + 0.08 * fractal(rng, width, height, 6)) * np.float32(0.62 * strength[0])
        amount = (
            nuclei * (1.15 + 0.25 * noise(rng, width, height, 90)) + 0.07 * eosin + 0.012 * grain(rng, width, height)
        )
        picture = stain(
            [
                (amount * np.float32(strength[1]), _HEMATOXYLIN),
                (eosin, _EOSIN),
                (red * np.float32(0.9), (0.1, 1.0, 0.75)),
            ]
        )
        image = to_image(picture * np.asarray(rng.uniform(0.93, 0.99, 3), np.float32))
        if self.shows_scale_bar:
            scale_bar(image, _SCALE_BARS[self.magnification])
        return image

    def headline(self, rng: np.random.Generator) -> str:
        """Class, organ, finding and magnification in one of several orders."""
        finding = _FINDINGS[self.finding].format(organ=self.organ)
        styles = (
            f"{self.kind.noun} of {self.species} {self.organ} showing {finding}, ×{self.magnification}",
            f"{self.kind.noun} (×{self.magnification}): {finding}, {self.species} tissue",
            f"{finding}; {self.kind.noun}, {self.species}, original magnification ×{self.magnification}",
            f"H&E: {self.kind.noun}, {self.species} {self.organ}, ×{self.magnification}, with {finding}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Scale bar and preparation."""
        bar = [f"Scale bar, {_SCALE_BARS[self.magnification]}."] if self.shows_scale_bar else []
        return [*bar, f"Section thickness, {int(rng.integers(3, 8))} µm."]

    @property
    def subject(self) -> str:
        """The finding in its organ."""
        return _FINDINGS[self.finding].format(organ=self.organ)


_MARKERS = {
    "Ki-67": "nuclear", "p53": "nuclear", "estrogen receptor": "nuclear", "HER2": "membranous",
    "E-cadherin": "membranous", "CD20": "membranous", "CD68": "cytoplasmic", "cytokeratin 7": "cytoplasmic",
    "vimentin": "cytoplasmic",
}  # fmt: skip
_TUMORS = ("breast carcinoma", "colorectal carcinoma", "gastric carcinoma", "glioma", "lymphoma", "lung adenocarcinoma")
_POSITIVE = {"negative": 0.02, "weak": 0.35, "moderate": 0.65, "strong": 0.95}
_INTENSITY = {"negative": 0.2, "weak": 0.55, "moderate": 1.1, "strong": 1.9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Immunohistochemistry(Panel):
    """A tumor section stained brown for one marker over blue nuclei."""

    kind: ClassVar[FigureClass] = FigureClass("ihc", "immunohistochemistry", "Immuno Assays", "immunohistochemistry")
    marker: str
    tumor: str
    staining: str
    magnification: int
    shows_arrow: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw marker, tumor, staining and magnification."""
        return cls(
            marker=pick(rng, list(_MARKERS)),
            tumor=pick(rng, _TUMORS),
            staining=pick(rng, list(_POSITIVE)),
            magnification=pick(rng, (20, 40)),
            shows_arrow=chance(rng, 0.3),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw nests of tumor cells in stroma."""
        spacing = _SPACING[self.magnification]
        nests = step(fractal(rng, width, height, 2.2) + 0.45, 0.35)
        points = scattered(rng, width, height, spacing, 0.3)
        points = points[rng.random(len(points)) < 0.2 + 0.8 * values_at(nests, points)]
        count = len(points)
        radii = spacing * rng.uniform(0.24, 0.36, (count, 2))
        angles = rng.uniform(0, np.pi, count).astype(np.float32)
        nuclei = blobs(width, height, points, radii, angles=angles)
        positive = (rng.random(count) < _POSITIVE[self.staining]) & (values_at(nests, points) > 0.5)
        chosen, sizes, turns = points[positive], radii[positive], angles[positive]
        pattern = _MARKERS[self.marker]
        if pattern == "nuclear":
            brown = blobs(width, height, chosen, sizes, angles=turns)
        elif pattern == "membranous":
            thickness = max(2, round(spacing * width * 0.07))
            brown = blobs(width, height, chosen, sizes * 1.75, angles=turns, outline=thickness, soften=1.0)
        else:
            halo = blobs(width, height, chosen, sizes * 1.9, angles=turns, soften=2.0)
            brown = np.clip(halo * (0.75 + 0.3 * noise(rng, width, height, 60)) - 0.7 * nuclei, 0, 1)
        intensity = np.float32(_INTENSITY[self.staining])
        blue = nuclei * (0.62 + 0.15 * noise(rng, width, height, 80)) + 0.06 * nests + 0.05
        fibers = 0.06 * np.abs(noise(rng, width, height, 25)) * (1 - nests)
        picture = stain(
            [
                (np.clip(blue, 0, 2) + fibers + 0.012 * grain(rng, width, height), (0.75, 0.50, 0.22)),
                (brown * intensity * (1 + 0.15 * noise(rng, width, height, 40)) + 0.05 * intensity * nests, _DAB),
            ]
        )
        image = to_image(picture * np.float32(rng.uniform(0.93, 0.99)))
        if self.shows_arrow and count:
            candidates = chosen if len(chosen) else points
            target = candidates[np.argmin(np.hypot(*candidates.T))]
            arrow(image, (float(target[0]), float(target[1])), angle=float(rng.uniform(0, 6.3)), color="black")
        return image

    def headline(self, rng: np.random.Generator) -> str:
        """Class, marker, staining and tumor."""
        pattern, stained = _MARKERS[self.marker], self._stained
        styles = (
            f"{self.kind.noun} for {self.marker} in {self.tumor}: {stained}, ×{self.magnification}",
            f"{stained} of {self.marker} by {self.kind.noun}, {self.tumor}, ×{self.magnification}",
            f"{self.marker} {self.kind.noun} with {stained} ({pattern} pattern), {self.tumor}",
            f"{self.kind.noun} (DAB, brown): {self.marker} in {self.tumor}, {stained}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Counterstain and arrow."""
        shown = ["The arrow marks a tumor cell."] if self.shows_arrow else []
        return [*shown, "Blue, hematoxylin counterstain.", f"Antibody dilution, 1:{50 * int(rng.integers(1, 12))}."]

    @property
    def subject(self) -> str:
        """Marker in its tumor."""
        return f"{self.marker} expression in {self.tumor}"

    @property
    def _stained(self) -> str:
        if self.staining == "negative":
            return "negative staining"
        return f"{self.staining} brown {_MARKERS[self.marker]} staining"


def _nuclei(rng: np.random.Generator, density: Array, spacing: float) -> Array:
    """Mask of nuclei on a jittered lattice, kept as likely as `density` says."""
    height, width = density.shape
    points = scattered(rng, width, height, spacing)
    points = points[rng.random(len(points)) < values_at(density, points)]
    radii = spacing * rng.uniform(0.2, 0.34, (len(points), 2))
    angles = rng.uniform(0, np.pi, len(points)).astype(np.float32)
    fills = rng.integers(150, 256, len(points)).astype(np.uint8)
    return blobs(width, height, points, radii, angles=angles, fills=fills)
