"""Axial abdominal CT in three phases of contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image

from biomedica_corpus.canvas import (
    Array,
    arrow,
    blend,
    bump,
    ellipse,
    flat,
    fractal,
    grain,
    grid,
    label,
    noise,
    step,
    strokes,
    to_image,
)
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_SIDES = {"right": -1, "left": 1}
# Brightness of aorta, kidney, liver and spleen.
_PHASES = {
    "unenhanced": (0.46, 0.45, 0.52, 0.48),
    "arterial phase": (1.0, 0.86, 0.56, 0.78),
    "portal venous phase": (0.76, 0.80, 0.70, 0.70),
}
_ABDOMEN_FINDINGS = {
    "normal": "normal abdominal organs",
    "liver lesions": "{n} hypodense liver lesions",
    "ascites": "ascites around the liver",
    "aneurysm": "abdominal aortic aneurysm",
    "renal cyst": "large {side} renal cyst",
    "splenomegaly": "splenomegaly",
    "dilated bowel": "dilated gas-filled bowel loops",
    "renal stone": "bright {side} renal stone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AbdominalCt(Panel):
    """One axial section at the level of the kidneys."""

    kind: ClassVar[FigureClass] = FigureClass("ct", "abdominal CT", "Clinical Imaging", "computerized tomography")
    phase: str
    finding: str
    side: str
    lesions: int
    age: int
    obese: bool
    shows_arrow: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw phase, finding, side and build."""
        finding = pick(rng, list(_ABDOMEN_FINDINGS))
        return cls(
            phase=pick(rng, list(_PHASES)),
            finding=finding,
            side=pick(rng, list(_SIDES)),
            lesions=int(rng.integers(2, 6)),
            age=int(rng.integers(21, 90)),
            obese=chance(rng, 0.3),
            shows_arrow=finding in {"renal cyst", "aneurysm", "renal stone"} and chance(rng, 0.4),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw fat, muscle, bone, organs and the finding."""
        x, y = grid(width, height)
        x = x * np.float32(rng.uniform(0.98, 1.06)) + np.float32(rng.uniform(-0.02, 0.02))
        y = y * np.float32(rng.uniform(0.98, 1.1))
        picture = self._wall(rng, x, y)
        picture = self._organs(rng, picture, x, y)
        picture = self._add_finding(rng, picture, x, y)
        table = bump(y - 0.86 + 0.16 * x * x, 0.012) * step(0.85 - np.abs(x), 0.05) * 0.5
        picture = np.maximum(picture, table) + 0.03 * grain(rng, width, height) * (0.5 + picture)
        image = to_image(np.clip(picture, 0, 1))
        label(image, "R", (0.03, 0.5), size=height // 20, anchor="lm")
        if self.shows_arrow:
            px, py = self._place
            arrow(image, (px, py), angle=-0.9 if px > 0 else np.pi + 0.9)
        return image

    @property
    def _place(self) -> tuple[float, float]:
        return (0.04, 0.12) if self.finding == "aneurysm" else (0.40 * _SIDES[self.side], 0.24)

    def _wall(self, rng: np.random.Generator, x: Array, y: Array) -> Array:
        height, width = x.shape
        r = np.hypot(x / 0.93, y / 0.72)
        fat = 0.17 if self.obese else 0.07
        picture = 0.2 * step(1 - r, 0.02)
        picture = blend(picture, 0.43, step(1 - fat - r, 0.02))
        inner = step(0.92 - fat - r, 0.02)
        picture = blend(picture, 0.21 + 0.03 * fractal(rng, width, height, 9), inner)
        angle = np.arctan2(y, x)
        ribs = (
            np.clip(np.cos(angle * 11) * 3 - 2, 0, 1)
            * bump(r - 0.95 + fat, 0.025)
            * step(0.75 - np.abs(np.sin(angle)), 0.1)
        )
        picture = blend(picture, 0.95, ribs)
        muscle = np.maximum(ellipse(x, y, (-0.2, 0.5), (0.15, 0.12)), ellipse(x, y, (0.2, 0.5), (0.15, 0.12)))
        picture = blend(picture, 0.45, muscle)
        spine = np.maximum(ellipse(x, y, (0, 0.32), (0.14, 0.115)), ellipse(x, y, (0, 0.5), (0.05, 0.12)))
        picture = blend(picture, 0.86 + 0.06 * noise(rng, width, height, 30), spine)
        return blend(picture, 0.4, ellipse(x, y, (0, 0.44), (0.055, 0.045)))

    def _organs(self, rng: np.random.Generator, picture: Array, x: Array, y: Array) -> Array:
        height, width = x.shape
        vessel, renal, liver, spleen = _PHASES[self.phase]
        for _ in range(9):
            center = (float(rng.uniform(-0.25, 0.5)), float(rng.uniform(-0.45, 0.02)))
            bowel = ellipse(
                x,
                y,
                center,
                (float(rng.uniform(0.07, 0.13)), float(rng.uniform(0.05, 0.1))),
                angle=float(rng.uniform(0, 3)),
            )
            picture = blend(picture, 0.38 + 0.12 * float(rng.random()), bowel)
        stomach = ellipse(x, y, (0.3, -0.34), (0.25, 0.17), angle=0.3)
        picture = blend(picture, 0.34, stomach)
        picture = blend(picture, 0.0, stomach * step(-0.38 - y, 0.02))
        wobble = 0.03 * noise(rng, width, height, 4)
        lobe = step(0.4 - np.hypot((x + 0.44) * 1.0, (y + 0.1) * 1.02) + wobble, 0.03)
        lobe = np.maximum(lobe, ellipse(x, y, (-0.05, -0.32), (0.26, 0.15), angle=0.25))
        lobe = lobe * step(0.8 - np.hypot(x / 0.93, y / 0.72), 0.02)
        vessels = bump(noise(rng, width, height, 7), 0.1) * 0.16 * (vessel - 0.4)
        picture = blend(picture, liver + 0.02 * fractal(rng, width, height, 14) + vessels, lobe)
        large = 1.7 if self.finding == "splenomegaly" else 1.0
        picture = blend(
            picture,
            spleen,
            ellipse(x, y, (0.60 - 0.08 * (large - 1), 0.04), (0.13 * large, 0.25 * large**0.6), angle=-0.2),
        )
        for s in (-1, 1):
            kidney = ellipse(x, y, (0.40 * s, 0.30), (0.13, 0.17), angle=0.25 * s)
            picture = blend(picture, renal, kidney)
            picture = blend(
                picture,
                0.30 if self.phase != "arterial phase" else 0.5,
                ellipse(x, y, (0.33 * s, 0.30), (0.055, 0.075), soft=0.04),
            )
        big = 0.17 if self.finding == "aneurysm" else 0.06
        picture = blend(picture, 0.95, bump(np.hypot(x - 0.04, y - 0.2 + big * 0.6) - big, 0.008) * 0.5)
        picture = blend(picture, vessel, ellipse(x, y, (0.04, 0.2 - big * 0.6), (big, big)))
        return blend(picture, vessel * 0.9, ellipse(x, y, (-0.12, 0.16), (0.07, 0.055)))

    def _add_finding(self, rng: np.random.Generator, picture: Array, x: Array, y: Array) -> Array:
        height, width = x.shape
        px, py = self._place
        if self.finding == "liver lesions":
            spots = flat(width, height, 0.0)
            for i in range(self.lesions):
                angle = 2 * np.pi * i / self.lesions + 0.4
                center = (-0.46 + 0.2 * float(np.cos(angle)), -0.1 + 0.2 * float(np.sin(angle)))
                spots = np.maximum(spots, ellipse(x, y, center, (float(rng.uniform(0.06, 0.1)),) * 2, soft=0.04))
            return blend(picture, 0.27, spots)
        if self.finding == "ascites":
            r = np.hypot(x / 0.93, y / 0.72)
            rim = (
                step(0.84 - r, 0.02) * step(r - 0.66 - 0.05 * noise(rng, width, height, 4), 0.03) * step(0.3 - y, 0.05)
            )
            return blend(picture, 0.32, rim)
        if self.finding == "renal cyst":
            return blend(picture, 0.27, ellipse(x, y, (px * 1.2, py - 0.02), (0.19, 0.19), soft=0.02))
        if self.finding == "renal stone":
            return blend(picture, 1.0, ellipse(x, y, (px * 0.88, 0.3), (0.05, 0.045), soft=0.02))
        if self.finding == "dilated bowel":
            loops = [
                (np.stack([np.linspace(-0.45, 0.5, 30), top + 0.05 * np.sin(np.linspace(0, 9, 30))], 1), width * 0.085)
                for top in (-0.36, -0.1)
            ]
            wall = strokes(width, height, [(points, thick * 1.3) for points, thick in loops], soften=1)
            return blend(blend(picture, 0.5, wall), 0.0, strokes(width, height, loops, soften=1))
        return picture

    @property
    def _words(self) -> str:
        counts = {2: "two", 3: "three", 4: "four", 5: "five"}
        return _ABDOMEN_FINDINGS[self.finding].format(side=self.side, n=counts[self.lesions])

    def headline(self, rng: np.random.Generator) -> str:
        """Class, phase and finding."""
        build = ", abundant subcutaneous fat" if self.obese else ""
        styles = (
            f"axial {self.kind.noun}, {self.phase}, showing {self._words}{build}",
            f"{self._words} on {self.phase} {self.kind.noun}{build}",
            f"{self.kind.noun} ({self.phase}) of a {self.age}-year-old patient with {self._words}{build}",
            f"{self.phase} {self.kind.noun}: {self._words}{build}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Arrow and slice thickness."""
        shown = ["The arrow marks the finding."] if self.shows_arrow else []
        return [*shown, f"Slice thickness, {pick(rng, ('1', '2.5', '3', '5'))} mm."]

    @property
    def subject(self) -> str:
        """The finding."""
        return self._words
