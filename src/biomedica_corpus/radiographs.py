"""Chest radiographs and ultrasound: projections of density, and echoes in a sector or rectangle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import (
    Array,
    arrow,
    blend,
    bump,
    ellipse,
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

# The patient faces us: the patient's right is on the left of the picture.
_SIDES = {"right": -1, "left": 1}
_CHEST_FINDINGS = {
    "no finding": "clear lungs",
    "pleural effusion": "{side} pleural effusion",
    "upper lobe consolidation": "{side} upper lobe consolidation",
    "lower lobe consolidation": "{side} lower lobe consolidation",
    "pneumothorax": "{side} pneumothorax",
    "nodule": "solitary {side} lung nodule",
    "cardiomegaly": "cardiomegaly with an enlarged heart shadow",
    "interstitial": "bilateral interstitial opacities",
    "pacemaker": "{side} chest wall pacemaker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChestRadiograph(Panel):
    """A frontal view of the chest."""

    kind: ClassVar[FigureClass] = FigureClass("cxr", "chest radiograph", "Clinical Imaging", "x-ray radiography")
    finding: str
    side: str
    view: str
    age: int
    patient: str
    inverted: bool
    shows_arrow: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw finding, side, view and patient."""
        finding = pick(rng, list(_CHEST_FINDINGS))
        has_place = finding in {"nodule", "upper lobe consolidation", "lower lobe consolidation", "pleural effusion"}
        return cls(
            finding=finding,
            side=pick(rng, list(_SIDES)),
            view=pick(rng, ("posteroanterior", "anteroposterior", "frontal")),
            age=int(rng.integers(19, 93)),
            patient=pick(rng, ("man", "woman")),
            inverted=chance(rng, 0.1),
            shows_arrow=has_place and chance(rng, 0.4),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Add up soft tissue, lungs, bones and the finding."""
        x, y = grid(width, height)
        x = x * np.float32(rng.uniform(0.96, 1.06)) + np.float32(rng.uniform(-0.03, 0.03))
        y = y * np.float32(rng.uniform(0.96, 1.06)) + np.float32(rng.uniform(-0.04, 0.04))
        wide = 0.5 if self.finding == "cardiomegaly" else 0.3
        lungs = self._lungs(x, y)
        film = self._tissue(rng, x, y, lungs)
        heart = ellipse(x, y, (0.12 + 0.25 * (wide - 0.3), 0.36), (wide * 1.12, 0.27), angle=0.62, soft=0.13)
        knob = ellipse(x, y, (0.12, -0.34), (0.1, 0.11), soft=0.08)
        trunk = step(0.11 + 0.04 * np.clip(y + 0.2, 0, 1) - np.abs(x), 0.08) * step(y + 1.2, 0.1)
        shadow = np.maximum(np.maximum(heart, 0.9 * trunk), 0.85 * knob) * step(0.72 - y, 0.1)
        film = np.maximum(film, (0.60 + 0.03 * fractal(rng, width, height, 7)) * shadow)
        film = film + 0.09 * step(0.065 - np.abs(x), 0.03) * (0.7 + 0.3 * np.cos(y * 38))
        film = film - 0.2 * bump(x, 0.045) * step(-0.25 - y, 0.1)
        film = self._add_finding(rng, film, lungs, x, y)
        film = np.clip(film + 0.012 * grain(rng, width, height), 0, 1) ** np.float32(rng.uniform(0.85, 1.15))
        image = to_image(1 - film if self.inverted else film)
        label(image, "L", (0.93, 0.06), size=height // 15, color="black" if self.inverted else "white", anchor="mt")
        if self.shows_arrow:
            px, py = self._place
            color = "black" if self.inverted else "white"
            arrow(image, (px + 0.12 * np.sign(px), py), angle=0.0 if px > 0 else np.pi, color=color)
        return image

    @property
    def _place(self) -> tuple[float, float]:
        heights = {"upper lobe consolidation": -0.28, "lower lobe consolidation": 0.36, "nodule": 0.0}
        return _SIDES[self.side] * 0.44, heights.get(self.finding, 0.42)

    def _lungs(self, x: Array, y: Array) -> Array:
        """Two fields: wide at the base, rounded at the apex, cut off by the domes of the diaphragm."""
        outer = 0.78 - 0.52 * np.clip((-y - 0.02) / 0.85, 0, 1) ** 2.2
        inner = 0.12 + 0.04 * np.clip(y, 0, 1) + 0.05 * bump(y - 0.05, 0.25)
        fields = step(outer - np.abs(x), 0.06) * step(np.abs(x) - inner, 0.06)
        dome = 0.68 - 0.22 * bump(np.abs(x) - 0.38, 0.34) + 0.05 * np.sign(x)
        return fields * step(y + 0.8, 0.1) * step(dome - y, 0.05)

    def _tissue(self, rng: np.random.Generator, x: Array, y: Array, lungs: Array) -> Array:
        height, width = x.shape
        torso = step(0.93 + 0.10 * np.clip(-y, -1, 1) - np.abs(x), 0.06) * step(y + 0.86 + 0.2 * (1 - np.abs(x)), 0.1)
        neck = step(0.24 - np.abs(x), 0.06) * step(-0.6 - y, 0.2)
        body = np.maximum(torso, neck)
        film: Array = 0.03 + 0.46 * body + 0.1 * body * step(y - 0.55, 0.5)
        vessels = np.clip(fractal(rng, width, height, 9), 0, 2) * bump(np.abs(x) - 0.2, 0.3)
        film = blend(film, 0.13 + 0.06 * vessels + 0.02 * fractal(rng, width, height, 12), lungs)
        phase = (y * 1.0 - 0.9 * (np.abs(x) - 0.12) + 0.62 * x * x + 0.05) * 4.6
        ribs = np.clip(np.cos(phase * np.float32(2 * np.pi) / 1.35) * 2.2 - 1.35, 0, 1)
        thorax = step(0.82 - np.abs(x), 0.04) * step(np.abs(x) - 0.08, 0.05) * step(y + 0.85, 0.1) * step(0.75 - y, 0.3)
        film = film + 0.10 * ribs * thorax * (0.55 + 0.45 * lungs)
        clavicles = [
            (np.asarray([(0.08 * s, -0.58), (0.4 * s, -0.72), (0.78 * s, -0.80)]), width / 26) for s in (-1, 1)
        ]
        return film + 0.13 * strokes(width, height, clavicles, soften=width / 130)

    def _add_finding(self, rng: np.random.Generator, film: Array, lungs: Array, x: Array, y: Array) -> Array:
        height, width = x.shape
        sign = _SIDES[self.side]
        half = step(x * sign, 0.02)
        px, py = self._place
        if self.finding == "pleural effusion":
            level = np.float32(rng.uniform(0.0, 0.3)) - 0.45 * np.clip(np.abs(x) - 0.4, 0, 1) ** 1.5
            fluid = step(y - level, 0.1) * step(x * sign - 0.05, 0.1) * step(0.80 - np.abs(x), 0.05)
            return blend(film, np.maximum(film, 0.58), fluid)
        if self.finding.endswith("consolidation"):
            patch = ellipse(x, y, (px, py), (0.3, 0.24), soft=0.22) * lungs
            return blend(film, np.maximum(film, 0.6), patch * np.clip(0.8 + 0.3 * fractal(rng, width, height, 6), 0, 1))
        if self.finding == "pneumothorax":
            outer = step(np.abs(x) - 0.44 - 0.08 * np.cos(y * 3), 0.02) * half * lungs
            line = bump(np.abs(x) - 0.44 - 0.08 * np.cos(y * 3), 0.012) * half * lungs
            return film * (1 - 0.8 * outer) + 0.25 * line
        if self.finding == "nodule":
            return film + 0.42 * ellipse(x, y, (px, py), (0.095, 0.09), soft=0.03)
        if self.finding == "interstitial":
            haze = bump(noise(rng, width, height, 24), 0.45) + 0.6 * bump(noise(rng, width, height, 40), 0.4)
            return blend(film, np.maximum(film, 0.55), 0.62 * lungs * np.clip(haze, 0, 1))
        if self.finding == "pacemaker":
            box = ellipse(x, y, (0.56 * sign, -0.42), (0.15, 0.13), soft=0.02)
            lead = [(np.asarray([(0.5 * sign, -0.38), (0.2 * sign, -0.5), (0.02, -0.2), (0.1, 0.4), (0.2, 0.48)]), 2.0)]
            return np.maximum(film, 0.98 * np.maximum(box, strokes(width, height, lead)))
        return film

    @property
    def _words(self) -> str:
        return _CHEST_FINDINGS[self.finding].format(side=self.side)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, finding, view and patient."""
        inverted = ", gray scale inverted" if self.inverted else ""
        styles = (
            f"{self.kind.noun}, {self.view} view{inverted}, showing {self._words}",
            f"{self._words} on {self.view} {self.kind.noun} of a {self.age}-year-old {self.patient}{inverted}",
            f"{self.view} {self.kind.noun}{inverted}: {self._words} ({self.patient}, {self.age} years)",
            f"{self.kind.noun} of a {self.age}-year-old {self.patient} with {self._words}{inverted}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Arrow and clinical course."""
        shown = ["The arrow marks the lesion."] if self.shows_arrow else []
        return [*shown, f"Obtained on day {int(rng.integers(1, 30))} after admission."]

    @property
    def subject(self) -> str:
        """The finding."""
        return self._words


Echoes = tuple[Array, Array]  # echogenicity, and shadow (1 lets all sound through)


def _gallstone(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    bladder = ellipse(x, y, (0.05, 0.02), (0.5, 0.27), angle=0.25)
    stone = bump(np.hypot(x - 0.12, (y - 0.17) * 1.2) - 0.09, 0.035) * step(0.19 - y, 0.05)
    shadow = 1 - 0.9 * step(0.1 - np.abs(x - 0.12 - 0.1 * (y - 0.1)), 0.06) * step(y - 0.2, 0.05)
    return np.maximum(blend(np.full_like(x, 0.5), 0.02, bladder), 1.3 * stone), shadow


def _cyst(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    kidney = ellipse(x, y, (0, 0.12), (0.68, 0.38), angle=-0.15)
    echo = blend(np.full_like(x, 0.55), 0.3, kidney)
    echo = blend(echo, 0.75, ellipse(x, y, (0.05, 0.12), (0.36, 0.13), angle=-0.15, soft=0.12))
    cyst = ellipse(x, y, (-0.3, -0.02), (0.22, 0.2))
    behind = ellipse(x, y, (-0.34, 0.45), (0.18, 0.28), soft=0.1)
    return blend(echo + 0.3 * behind, 0.01, cyst), np.full_like(x, 1.0)


def _thyroid(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    muscles = 0.3 + 0.25 * bump(np.sin(y * 18 + 0.5 * np.sin(x * 3)), 0.35)
    lobe = ellipse(x, y, (0, 0.05), (0.95, 0.48), soft=0.06)
    nodule = ellipse(x, y, (0.12, 0.08), (0.34, 0.25))
    echo = blend(blend(muscles, 0.62, lobe), 0.17, nodule)
    rim = bump(np.hypot((x - 0.12) / 0.34, (y - 0.08) / 0.25) - 1, 0.06)
    return echo + 0.3 * rim, np.full_like(x, 1.0)


def _fetal_head(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    skull = np.hypot((x + 0.02) / 0.56, (y - 0.1) / 0.42)
    fluid = ellipse(x, y, (0, 0.1), (0.85, 0.62), soft=0.1)
    echo = blend(np.full_like(x, 0.45), 0.04, fluid)
    echo = blend(echo, 0.2, step(1 - skull, 0.05)) + 1.2 * bump(skull - 1, 0.055)
    return echo + 0.5 * bump(y - 0.1, 0.012) * step(0.9 - skull, 0.1), np.full_like(x, 1.0)


def _heart(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    echo = np.full_like(x, 0.55)
    rooms = (
        ((-0.16, -0.12), (0.13, 0.36)),
        ((0.2, -0.08), (0.17, 0.4)),
        ((-0.2, 0.5), (0.18, 0.2)),
        ((0.22, 0.52), (0.2, 0.2)),
    )
    for center, radii in rooms:
        echo = blend(echo, 0.02, ellipse(x, y, center, radii, angle=0.06, soft=0.06))
    valves = bump(y - 0.3 - 0.3 * np.abs(np.abs(x) - 0.2), 0.022) * step(0.36 - np.abs(x), 0.05)
    return echo + 0.6 * valves, np.full_like(x, 1.0)


def _breast(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    height, width = x.shape
    layers = 0.42 + 0.22 * np.sin(y * 9 + 1.2 * noise(rng, width, height, 3))
    spiky = np.hypot(x / 0.3, (y - 0.02) / 0.27) + 0.17 * noise(rng, width, height, 9)
    shadow = 1 - 0.75 * step(0.25 - np.abs(x), 0.12) * step(y - 0.2, 0.1)
    return blend(layers, 0.08, step(1 - spiky, 0.12)), shadow


def _carotid(rng: np.random.Generator, x: Array, y: Array) -> Echoes:
    middle = y - 0.12 * np.sin(x * 1.3 + 0.6)
    echo = 0.4 + 0.2 * bump(np.sin(y * 14), 0.4)
    wall = bump(np.abs(middle) - 0.21, 0.03)
    return blend(echo, 0.02, step(0.2 - np.abs(middle), 0.03)) + 0.9 * wall, np.full_like(x, 1.0)


_SCANS: dict[str, tuple[Callable[[np.random.Generator, Array, Array], Echoes], str, str]] = {
    "gallbladder with a shadowing gallstone": (_gallstone, "convex", "abdominal"),
    "kidney with an anechoic cyst": (_cyst, "convex", "renal"),
    "hypoechoic thyroid nodule": (_thyroid, "linear", "thyroid"),
    "fetal head in amniotic fluid": (_fetal_head, "convex", "obstetric"),
    "four cardiac chambers": (_heart, "phased", "cardiac"),
    "irregular breast mass": (_breast, "linear", "breast"),
    "carotid artery in longitudinal section": (_carotid, "linear", "vascular"),
}
_GAINS = {"low": 0.6, "medium": 1.0, "high": 1.5}
_OPENINGS = {"convex": (0.62, 0.55, -1.5), "phased": (0.72, 0.06, -1.02)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ultrasound(Panel):
    """A B-mode scan with speckle; color Doppler on some."""

    kind: ClassVar[FigureClass] = FigureClass("ultrasound", "ultrasound", "Clinical Imaging", "ultrasound")
    finding: str
    doppler: str
    gain: str
    calipers: bool
    depth: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw finding, Doppler color, calipers and depth."""
        finding = pick(rng, list(_SCANS))
        may_flow = finding.startswith(("carotid", "four", "hypoechoic"))
        return cls(
            finding=finding,
            doppler=pick(rng, ("red", "blue", "")) if may_flow else "",
            gain=pick(rng, list(_GAINS)),
            calipers=chance(rng, 0.4),
            depth=int(rng.integers(4, 19)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw echoes, speckle, shadows and what the machine writes beside them."""
        x, y = grid(width, height)
        scan, probe, _ = _SCANS[self.finding]
        drift = np.float32(rng.uniform(-0.06, 0.06))
        echo, shadow = scan(rng, x + drift, y * np.float32(rng.uniform(0.93, 1.08)))
        speckle = np.hypot(noise(rng, width, height, 85), noise(rng, width, height, 60)) * np.float32(0.62)
        speckle = speckle * (1 + 0.2 * fractal(rng, width, height, 5))
        gray = (echo * shadow * (0.28 + 0.55 * speckle) + 0.03 * speckle) * np.float32(_GAINS[self.gain])
        field = self._field(probe, x, y)
        picture = np.repeat((np.clip(gray, 0, 1) ** np.float32(0.85) * field)[..., None], 3, axis=2)
        if self.doppler:
            flow = step(0.12 - echo, 0.08) * step(0.42 - np.abs(x), 0.02) * step(0.5 - np.abs(y), 0.02)
            if self.finding.startswith("hypoechoic"):
                flow = step(noise(rng, width, height, 12) - 0.7, 0.3) * ellipse(x, y, (0.12, 0.08), (0.5, 0.4))
            hue = (0.95, 0.2, 0.05) if self.doppler == "red" else (0.1, 0.3, 1.0)
            picture = blend(picture, hue, np.clip(flow * (0.75 + 0.3 * speckle), 0, 1) * field)
        image = to_image(picture)
        self._annotate(image, probe)
        return image

    @staticmethod
    def _field(probe: str, x: Array, y: Array) -> Array:
        if probe == "linear":
            return step(0.88 - np.abs(x), 0.01) * step(0.9 - np.abs(y), 0.01)
        opening, inner, apex = _OPENINGS[probe]
        radius, angle = np.hypot(x, y - apex), np.arctan2(x, y - apex)
        outer = 0.92 - apex
        return step(opening - np.abs(angle), 0.01) * step(radius - inner, 0.01) * step(outer - radius, 0.01)

    def _annotate(self, image: Image.Image, probe: str) -> None:
        draw = ImageDraw.Draw(image)
        width, height = image.size
        for tick in range(9):
            top = height * (0.06 + 0.11 * tick)
            draw.line((width - 8, top, width - (2 if tick % 4 else 1), top), fill="#cccccc")
        label(image, f"{self.depth} cm", (0.98, 0.98), size=height // 22, anchor="rb", color="#dddddd")
        label(
            image,
            f"{probe[0].upper()}{self.depth + 3}-{2 + self.depth % 4}",
            (0.02, 0.02),
            size=height // 24,
            color="#88ccff",
        )
        if self.calipers:
            for px, py in ((0.33, 0.5), (0.67, 0.52)):
                cx, cy = px * width, py * height
                draw.line((cx - 4, cy, cx + 4, cy), fill="#ffee55")
                draw.line((cx, cy - 4, cx, cy + 4), fill="#ffee55")

    def headline(self, rng: np.random.Generator) -> str:
        """Class, examination, finding, probe and Doppler."""
        _, probe, field = _SCANS[self.finding]
        flow = f", {self.doppler} color Doppler flow" if self.doppler else ""
        flow += ", measured between calipers" if self.calipers else ""
        styles = (
            f"{field} {self.kind.noun} showing {self.finding}{flow}, {probe} probe, {self.gain} gain",
            f"{self.kind.noun} ({probe} transducer, {self.gain} gain): {self.finding}{flow}",
            f"{self.finding} on {field} {self.kind.noun}{flow}, {self.gain} gain, depth {self.depth} cm",
            f"B-mode {self.kind.noun}, {probe} array at {self.gain} gain, {self.finding}{flow}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Calipers and depth."""
        size = f"Calipers, {rng.integers(4, 60)} mm." if self.calipers else ""
        return [text for text in (size, f"Imaging depth, {self.depth} cm.") if text]

    @property
    def subject(self) -> str:
        """The finding."""
        return self.finding
