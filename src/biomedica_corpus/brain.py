"""Sections of the head: brain MRI in three planes and sequences, drawn from ellipses and folds."""

from __future__ import annotations

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
    fractal,
    grain,
    grid,
    label,
    noise,
    step,
    to_image,
)
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_SIDES = {"right": -1, "left": 1}
# Brightness of white matter, gray matter, fluid, fat and lesion.
_SEQUENCES = {
    "T1-weighted": (0.72, 0.52, 0.10, 0.95, 0.30),
    "T2-weighted": (0.36, 0.55, 0.98, 0.70, 0.92),
    "FLAIR": (0.42, 0.54, 0.05, 0.60, 0.97),
    "contrast-enhanced T1-weighted": (0.66, 0.50, 0.10, 0.95, 0.28),
}
_BRAIN_FINDINGS = {
    "normal": "no lesion",
    "tumor": "{side} hemisphere tumor",
    "infarct": "{side} territorial infarct",
    "hydrocephalus": "hydrocephalus with enlarged ventricles",
    "white matter lesions": "multiple periventricular white matter lesions",
    "meningioma": "round {side} convexity meningioma",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrainMri(Panel):
    """One section through the head."""

    kind: ClassVar[FigureClass] = FigureClass("mri", "brain MRI", "Clinical Imaging", "magnetic resonance")
    sequence: str
    plane: str
    finding: str
    side: str
    age: int
    shows_arrow: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw sequence, plane, finding and side."""
        plane = pick(rng, ("axial", "axial", "coronal", "sagittal"))
        finding = pick(rng, ("normal", "hydrocephalus") if plane == "sagittal" else list(_BRAIN_FINDINGS))
        return cls(
            sequence=pick(rng, list(_SEQUENCES)),
            plane=plane,
            finding=finding,
            side=pick(rng, list(_SIDES)),
            age=int(rng.integers(4, 88)),
            shows_arrow=finding in {"tumor", "meningioma", "infarct"} and chance(rng, 0.4),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw the section."""
        x, y = grid(width, height)
        x = x * np.float32(rng.uniform(0.97, 1.08)) + np.float32(rng.uniform(-0.04, 0.04))
        y = y * np.float32(rng.uniform(0.97, 1.06))
        slices = self._sagittal(rng, x, y) if self.plane == "sagittal" else self._transverse(rng, x, y)
        slices = self._add_finding(rng, slices, x, y) if self.plane != "sagittal" else slices
        bias = 1 + 0.08 * noise(rng, width, height, 2)
        slices = slices * bias + 0.022 * grain(rng, width, height)
        image = to_image(np.clip(slices * np.float32(rng.uniform(0.88, 1.08)), 0, 1))
        if self.plane != "sagittal":
            label(image, "R", (0.03, 0.5), size=height // 18, anchor="lm")
        if self.shows_arrow:
            px, py = self._place
            arrow(image, (px * 0.93, py), angle=0.0 if px > 0 else np.pi)
        return image

    @property
    def _place(self) -> tuple[float, float]:
        sign = _SIDES[self.side]
        return (0.46 * sign, -0.32) if self.finding == "meningioma" else (0.3 * sign, -0.2)

    def _transverse(self, rng: np.random.Generator, x: Array, y: Array) -> Array:
        height, width = x.shape
        white, gray, fluid, fat, _ = _SEQUENCES[self.sequence]
        axial = self.plane == "axial"
        rx, ry = (0.6, 0.76) if axial else (0.62, 0.62)
        cy = 0.0 if axial else -0.12
        r = np.hypot(x / rx, (y - cy) / ry)
        scalp = step(1.24 - r, 0.03) * step(r - 1.14, 0.03)
        picture = fat * scalp * 0.9 + 0.05 * step(1.15 - r, 0.02)
        brain = step(1.02 - r, 0.03)
        folds = _folds(rng, x, y - cy, r)
        picture = blend(picture, fluid, step(1.06 - r, 0.02))
        cortex = step(r + 0.10 * noise(rng, width, height, 10) - 0.80, 0.05)
        tissue: Array = white + (gray - white) * np.maximum(cortex, step(folds - 0.25, 0.3))
        sulci = step(folds - 0.75, 0.2)
        tissue = blend(tissue, fluid, np.clip(sulci, 0, 1) * 0.85)
        tissue = blend(
            tissue,
            fluid,
            bump(np.abs(x), 0.014) * (step(np.abs(y - cy) - 0.3, 0.1) if axial else step(cy - 0.1 - y, 0.1)),
        )
        for s in (-1, 1):
            tissue = blend(tissue, gray, ellipse(x, y, (0.2 * s, cy + 0.05), (0.11, 0.17), angle=-0.3 * s, soft=0.05))
        big = 2.1 if self.finding == "hydrocephalus" else 1.0
        for s in (-1, 1):
            tissue = blend(
                tissue,
                fluid,
                ellipse(x, y, (0.075 * s * big, cy - 0.13), (0.05 * big, 0.17 * big**0.4), angle=-0.3 * s),
            )
            if axial:
                tissue = blend(
                    tissue, fluid, ellipse(x, y, (0.13 * s * big, cy + 0.24), (0.045 * big, 0.16), angle=0.4 * s)
                )
        picture = blend(picture, tissue, brain)
        if not axial:
            picture = self._add_skull_base(rng, picture, x, y)
        return picture

    def _add_skull_base(self, rng: np.random.Generator, picture: Array, x: Array, y: Array) -> Array:
        height, width = x.shape
        white, gray, _, fat, _ = _SEQUENCES[self.sequence]
        leaves = gray + 0.08 * np.sin(y * 60 + 2 * np.abs(x) * 20)
        picture = blend(picture, leaves, ellipse(x, y, (0, 0.42), (0.42, 0.18)))
        picture = blend(picture, white, ellipse(x, y, (0, 0.42), (0.09, 0.26)))
        neck = step(0.42 - np.abs(x), 0.05) * step(y - 0.62, 0.05)
        return np.maximum(picture, neck * (0.35 * fat + 0.12 * fractal(rng, width, height, 8)))

    def _sagittal(self, rng: np.random.Generator, x: Array, y: Array) -> Array:
        height, width = x.shape
        white, gray, fluid, fat, _ = _SEQUENCES[self.sequence]
        r = np.hypot((x - 0.05) / 0.72, (y + 0.2) / 0.58)
        picture: Array = 0.9 * fat * step(1.2 - r, 0.03) * step(r - 1.11, 0.03) * step(0.45 - y, 0.1)
        face = ellipse(x, y, (-0.5, 0.36), (0.24, 0.46), angle=-0.15) * (
            0.4 * fat + 0.15 * fractal(rng, width, height, 7)
        )
        neck = step(0.28 - np.abs(x - 0.12), 0.05) * step(y - 0.3, 0.05) * (0.3 * fat + 0.1)
        picture = np.maximum(np.maximum(picture, face), neck)
        folds = _folds(rng, x - 0.05, y + 0.2, r)
        tissue = white + (gray - white) * step(folds - 0.25, 0.3)
        tissue = blend(tissue, fluid, step(folds - 0.75, 0.2) * 0.85)
        brain = step(1.0 - r, 0.03) * step(0.24 - y - 0.12 * x, 0.05)
        picture = blend(picture, fluid, step(1.05 - r, 0.02) * step(0.3 - y, 0.05))
        picture = blend(picture, tissue, brain)
        arc = np.hypot((x - 0.02) / 0.36, (y + 0.02) / 0.26)
        big = 2.2 if self.finding == "hydrocephalus" else 1.0
        picture = blend(
            picture, fluid, step(0.92 - arc, 0.05) * step(arc - (1 - 0.25 * big), 0.05) * step(-0.03 - y, 0.05)
        )
        picture = blend(picture, white * 1.1, bump(arc - 1, 0.10) * step(0.02 - y, 0.05))
        cerebellum = ellipse(x, y, (0.42, 0.36), (0.24, 0.2))
        picture = blend(picture, gray + 0.1 * np.sin(np.hypot(x - 0.25, y - 0.36) * 70), cerebellum)
        stem = ellipse(x, y, (0.14, 0.38), (0.1, 0.24), angle=0.1)
        picture = blend(picture, white, stem)
        return blend(picture, white * 0.9, step(0.045 - np.abs(x - 0.17), 0.02) * step(y - 0.5, 0.05))

    def _add_finding(self, rng: np.random.Generator, picture: Array, x: Array, y: Array) -> Array:
        height, width = x.shape
        lesion = _SEQUENCES[self.sequence][4]
        px, py = self._place
        enhanced = self.sequence.startswith("contrast")
        r = np.hypot(x - px, y - py) + 0.025 * noise(rng, width, height, 8)
        if self.finding == "tumor":
            edema = step(0.29 - r - 0.06 * noise(rng, width, height, 5), 0.1)
            picture = blend(picture, 0.75 * lesion + 0.1, edema * 0.7)
            picture = blend(picture, lesion, step(0.17 - r, 0.03))
            return blend(picture, 1.0, bump(r - 0.17, 0.028)) if enhanced else picture
        if self.finding == "infarct":
            angle = np.arctan2(y + 0.02, x * _SIDES[self.side])
            wedge = (
                step(0.55 - np.abs(angle + 0.05), 0.1)
                * step(np.abs(x) - 0.16, 0.06)
                * step(0.97 - np.hypot(x / 0.6, y / 0.76), 0.05)
            )
            return blend(picture, lesion, wedge * step(x * _SIDES[self.side], 0.02) * 0.9)
        if self.finding == "meningioma":
            return blend(
                picture, 0.98 if enhanced else 0.6 * lesion + 0.25, step(0.16 - np.hypot(x - px, y - py), 0.02)
            )
        if self.finding == "white matter lesions":
            angles = rng.uniform(0, 2 * np.pi, 16)
            points = np.stack([0.27 * np.cos(angles), 0.36 * np.sin(angles) - 0.05], 1) * rng.uniform(
                0.75, 1.15, (16, 1)
            )
            spots = blobs(width, height, points.astype(np.float32), rng.uniform(0.025, 0.06, (16, 2)), soften=1.5)
            return blend(picture, lesion, spots)
        return picture

    @property
    def _words(self) -> str:
        return _BRAIN_FINDINGS[self.finding].format(side=self.side)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, plane, sequence and finding."""
        styles = (
            f"{self.plane} {self.sequence} {self.kind.noun} showing {self._words}",
            f"{self.kind.noun}, {self.plane} {self.sequence} image: {self._words}",
            f"{self._words} on {self.plane} {self.sequence} {self.kind.noun} ({self.age} years)",
            f"{self.sequence} {self.kind.noun}, {self.plane} plane, patient aged {self.age} with {self._words}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Arrow and scanner."""
        shown = ["The arrow marks the lesion."] if self.shows_arrow else []
        return [*shown, f"Field strength, {pick(rng, ('1.5', '3'))} T; slice {int(rng.integers(8, 30))}."]

    @property
    def subject(self) -> str:
        """The finding."""
        return "the normal brain" if self.finding == "normal" else self._words


def _folds(rng: np.random.Generator, x: Array, y: Array, r: Array) -> Array:
    """1 on sulci: clefts that run from the surface (r = 1) inwards, wavering, some deeper than others."""
    height, width = x.shape
    angle = np.arctan2(y, x) + 0.11 * noise(rng, width, height, 9)
    reach = 0.74 + 0.13 * noise(rng, width, height, 8)
    clefts: Array = bump(np.sin(angle * 13), 0.42) * step(r - reach, 0.12)
    return clefts
