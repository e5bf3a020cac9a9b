"""Color photographs of the eye's fundus and of skin lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import (
    Array,
    blend,
    blobs,
    bump,
    ellipse,
    flat,
    fractal,
    grain,
    grid,
    noise,
    scattered,
    step,
    strokes,
    to_image,
)
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_EYE_FINDINGS = {
    "normal": "no pathological change",
    "hemorrhages": "scattered dark red hemorrhages",
    "hard exudates": "yellow hard exudates around the macula",
    "drusen": "numerous pale macular drusen",
    "laser scars": "panretinal laser scars",
    "glaucoma": "an enlarged optic cup",
    "cotton-wool spots": "white cotton-wool spots",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fundus(Panel):
    """The back of one eye: the optic disc lies on the nasal side."""

    kind: ClassVar[FigureClass] = FigureClass("fundus", "retinal fundus photograph", "Clinical Imaging", "eye")
    eye: str
    finding: str
    red_free: bool
    pigment: str
    age: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw eye, finding, filter and pigmentation."""
        return cls(
            eye=pick(rng, ("right", "left")),
            finding=pick(rng, list(_EYE_FINDINGS)),
            red_free=chance(rng, 0.15),
            pigment=pick(rng, ("lightly", "moderately", "darkly")),
            age=int(rng.integers(20, 88)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw background, vessels, disc and lesions inside the camera's circle."""
        x, y = grid(width, height)
        x, y = x + np.float32(rng.uniform(-0.03, 0.03)), y + np.float32(rng.uniform(-0.03, 0.03))
        if self.eye == "left":
            x = -x
        hue = {"lightly": (0.90, 0.45, 0.20), "moderately": (0.76, 0.32, 0.12), "darkly": (0.52, 0.21, 0.09)}[
            self.pigment
        ]
        picture = flat(width, height, hue) * (1 + 0.05 * fractal(rng, width, height, 5))[..., None]
        picture = picture * (1.12 - 0.42 * (x**2 + y**2))[..., None]
        picture = blend(picture, np.asarray(hue, np.float32) / 2, 0.65 * bump(np.hypot(x + 0.08, y), 0.2))
        center = (0.48, -0.03)
        vessels, thin = self._vessels(rng, width, height)
        picture = self._lesions(rng, picture, x, y)
        picture = blend(picture, (0.42, 0.06, 0.05), 0.75 * vessels)
        picture = blend(picture, (0.60, 0.14, 0.08), 0.6 * thin)
        disc = ellipse(x, y, center, (0.145, 0.165), soft=0.05)
        cup = 0.105 if self.finding == "glaucoma" else 0.05
        picture = blend(picture, (0.98, 0.80, 0.50), 0.85 * disc * (1 - 0.6 * vessels))
        picture = blend(
            picture, (1.0, 0.96, 0.82), ellipse(x, y, center, (cup, cup * 1.15), soft=0.04) * (1 - 0.5 * vessels)
        )
        circle = step(0.94 - np.hypot(x, y), 0.02)
        picture = np.clip(picture + 0.012 * grain(rng, width, height)[..., None], 0, 1) * circle[..., None]
        if self.red_free:
            return to_image(picture[..., 1] * np.float32(1.7))
        return to_image(picture)

    def _vessels(self, rng: np.random.Generator, width: int, height: int) -> tuple[Array, Array]:
        """Arcades that leave the disc, veins and arteries, with branches; mirrored for the left eye."""
        flip = np.asarray([-1 if self.eye == "left" else 1, 1], np.float32)
        thick, thin = [], []
        t = np.linspace(0, 1, 40)[:, None]
        for up in (-1, 1):
            for target, bend in (((-0.75, 0.62), 0.75), ((0.95, 0.75), 0.25), ((-0.35, 0.95), 0.6)):
                start, end = np.asarray([0.48, -0.03]), np.asarray([target[0], up * target[1]])
                middle = np.asarray([start[0] - 0.12 * bend, up * (0.55 + 0.2 * bend)]) + rng.normal(0, 0.05, 2)
                curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
                curve += 0.013 * np.sin(t * rng.uniform(12, 22) + rng.uniform(0, 6)) * np.asarray([1, -1])
                weight = width / 62
                thick += [(curve[:22] * flip, weight), (curve[20:] * flip, weight * 0.7)]
                thin.append(((curve + np.asarray([0.05, 0.04 * up])) * flip, weight * 0.6))
                for _ in range(4):
                    at = curve[int(rng.integers(8, 36))]
                    way = np.asarray([-0.25, -0.25 * up]) * rng.uniform(0.3, 1.2, 2) + rng.normal(0, 0.12, 2)
                    thin.append(((at + t * way + 0.05 * np.sin(3 * t) * rng.normal(0, 1, 2)) * flip, weight * 0.4))
        return strokes(width, height, thick), strokes(width, height, thin)

    def _lesions(self, rng: np.random.Generator, picture: Array, x: Array, y: Array) -> Array:
        height, width = x.shape
        flip = -1 if self.eye == "left" else 1

        def spots(count: int, spread: tuple[float, float], radii: tuple[float, float], soften: float) -> Array:
            points = rng.normal(0, 1, (count, 2)) * spread + np.asarray([-0.08 * flip, 0])
            return blobs(width, height, points.astype(np.float32), rng.uniform(*radii, (count, 2)), soften=soften)

        if self.finding == "hemorrhages":
            return blend(picture, (0.33, 0.02, 0.03), 0.9 * spots(26, (0.45, 0.42), (0.02, 0.06), 1.0))
        if self.finding == "hard exudates":
            return blend(picture, (1.0, 0.92, 0.45), 0.95 * spots(55, (0.26, 0.22), (0.012, 0.035), 0.7))
        if self.finding == "drusen":
            return blend(picture, (0.98, 0.78, 0.42), 0.75 * spots(70, (0.18, 0.16), (0.02, 0.04), 1.6))
        if self.finding == "cotton-wool spots":
            return blend(picture, (1.0, 0.96, 0.88), 0.85 * spots(9, (0.42, 0.4), (0.05, 0.08), 3.0))
        if self.finding == "laser scars":
            points = scattered(rng, width, height, 0.13, 0.2)
            points = points[np.hypot(points[:, 0], points[:, 1]) > 0.55]
            ring = blobs(width, height, points, np.full((len(points), 2), 0.045), soften=0.8)
            core = blobs(width, height, points, np.full((len(points), 2), 0.024), soften=0.8)
            return blend(blend(picture, (0.95, 0.85, 0.62), 0.8 * ring), (0.25, 0.1, 0.06), 0.8 * core)
        return picture

    def headline(self, rng: np.random.Generator) -> str:
        """Class, eye and finding."""
        words, free = _EYE_FINDINGS[self.finding], "red-free " if self.red_free else ""
        styles = (
            f"{free}{self.kind.noun} of the {self.eye} eye showing {words}, {self.pigment} pigmented fundus",
            f"{self.eye} eye, {free}{self.kind.noun}: {words} ({self.pigment} pigmented)",
            f"{free}{self.kind.noun} ({self.eye} eye, {self.pigment} pigmented) with {words}",
            f"{words} in the {self.eye} eye on {free}{self.kind.noun}, {self.pigment} pigmented fundus",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Field and acuity."""
        return [f"Field of view, {pick(rng, ('30', '45', '50'))}°.", f"Visual acuity, 0.{int(rng.integers(1, 10))}."]

    @property
    def subject(self) -> str:
        """The finding."""
        return "the normal retina" if self.finding == "normal" else _EYE_FINDINGS[self.finding]


# Outline irregularity, colors from rim to center.
_LESIONS = {
    "melanoma": (0.17, ((0.55, 0.35, 0.25), (0.32, 0.18, 0.13), (0.10, 0.07, 0.08))),
    "benign nevus": (0.04, ((0.66, 0.44, 0.30), (0.50, 0.30, 0.19), (0.40, 0.23, 0.14))),
    "seborrheic keratosis": (0.08, ((0.72, 0.56, 0.36), (0.62, 0.46, 0.27), (0.52, 0.37, 0.21))),
    "basal cell carcinoma": (0.10, ((0.93, 0.62, 0.58), (0.95, 0.66, 0.64), (0.86, 0.50, 0.50))),
    "hemangioma": (0.07, ((0.78, 0.20, 0.24), (0.66, 0.08, 0.14), (0.42, 0.03, 0.12))),
    "blue nevus": (0.03, ((0.50, 0.52, 0.62), (0.30, 0.36, 0.55), (0.22, 0.28, 0.48))),
}
_SITES = ("back", "forearm", "cheek", "thigh", "shoulder", "abdomen", "scalp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dermoscopy(Panel):
    """A skin lesion under the dermatoscope."""

    kind: ClassVar[FigureClass] = FigureClass("dermoscopy", "dermoscopy", "Clinical Imaging", "skin lesion")
    diagnosis: str
    site: str
    hairs: bool
    ruler: bool
    vignette: bool
    millimeters: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw diagnosis, site and what lies over the lesion."""
        return cls(
            diagnosis=pick(rng, list(_LESIONS)),
            site=pick(rng, _SITES),
            hairs=chance(rng, 0.4),
            ruler=chance(rng, 0.3),
            vignette=chance(rng, 0.4),
            millimeters=int(rng.integers(3, 19)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw skin, lesion, structures, hairs and ruler."""
        x, y = grid(width, height)
        irregular, colors = _LESIONS[self.diagnosis]
        tone = np.asarray([0.90, 0.71, 0.62], np.float32) * np.float32(rng.uniform(0.86, 1.04))
        skin = tone + (0.03 * fractal(rng, width, height, 8))[..., None] + 0.015 * grain(rng, width, height)[..., None]
        cx, cy = (float(v) for v in rng.uniform(-0.1, 0.1, 2))
        angle = np.arctan2(y - cy, x - cx)
        wave = sum(
            float(rng.normal(0, irregular / k)) * np.cos(k * angle + float(rng.uniform(0, 6))) for k in (2, 3, 5, 8)
        )
        size = float(rng.uniform(0.42, 0.6))
        inside = size * (1 + wave) - np.hypot((x - cx) * float(rng.uniform(0.85, 1.15)), y - cy)
        inside = inside + 0.02 * noise(rng, width, height, 14)
        edge = step(inside, 0.06 if self.diagnosis != "melanoma" else 0.025)
        depth = np.clip(inside / size + 0.22 * fractal(rng, width, height, 3 if irregular > 0.1 else 2), 0, 1)
        index = np.clip(depth * 2, 0, 1.999)
        stops = np.asarray(colors, np.float32)
        low = index.astype(int)
        body = stops[low] + (index - low)[..., None] * (stops[low + 1] - stops[low])
        picture = blend(skin.astype(np.float32), body.astype(np.float32), edge)
        picture = self._structures(rng, picture, edge, depth)
        picture = np.clip(picture, 0, 1) * (1.04 - 0.16 * (x**2 + y**2))[..., None]
        if self.hairs:
            picture = blend(picture, (0.12, 0.08, 0.06), 0.85 * self._hairs(rng, width, height))
        if self.vignette:
            picture = picture * step(0.98 - np.hypot(x, y), 0.03)[..., None]
        image = to_image(picture)
        if self.ruler:
            draw = ImageDraw.Draw(image)
            for tick in range(19):
                left = width * (0.05 + 0.05 * tick)
                draw.line((left, height, left, height * (0.92 if tick % 5 else 0.87)), fill="black")
        return image

    def _structures(self, rng: np.random.Generator, picture: Array, edge: Array, depth: Array) -> Array:
        height, width = edge.shape
        if self.diagnosis in {"melanoma", "benign nevus"}:
            net = bump(noise(rng, width, height, 26), 0.22) * edge * (1 - depth)
            picture = blend(picture, (0.22, 0.12, 0.08), 0.65 * net)
        if self.diagnosis == "melanoma":
            veil = step(fractal(rng, width, height, 2.5) - 0.5, 0.4) * edge
            picture = blend(picture, (0.42, 0.47, 0.60), 0.8 * veil)
            return blend(picture, (0.05, 0.04, 0.05), self._dots(rng, edge, 45, (0.012, 0.03)))
        if self.diagnosis == "seborrheic keratosis":
            picture = blend(picture, (0.97, 0.94, 0.82), 0.9 * self._dots(rng, edge, 40, (0.012, 0.028)))
            return blend(picture, (0.22, 0.13, 0.07), 0.9 * self._dots(rng, edge, 22, (0.02, 0.04)))
        if self.diagnosis == "basal cell carcinoma":
            starts = rng.uniform(-0.5, 0.5, (9, 1, 2))
            t = np.linspace(0, 1, 24)[:, None]
            lines = [
                (
                    s + t * rng.normal(0, 0.35, 2) + 0.05 * np.sin(t * rng.uniform(5, 12)) * rng.normal(0, 1, 2),
                    width / 110,
                )
                for s in starts
            ]
            picture = blend(picture, (0.78, 0.12, 0.16), 0.85 * strokes(width, height, lines) * edge)
            return blend(picture, (0.36, 0.38, 0.46), 0.8 * self._dots(rng, edge, 9, (0.03, 0.06)))
        if self.diagnosis == "hemangioma":
            lakes = blobs(
                width, height, points := scattered(rng, width, height, 0.17, 0.25), np.full((len(points), 2), 0.07)
            )
            return blend(picture, (0.55, 0.03, 0.10), 0.6 * lakes * edge)
        return picture

    @staticmethod
    def _dots(rng: np.random.Generator, edge: Array, count: int, radii: tuple[float, float]) -> Array:
        height, width = edge.shape
        points = rng.normal(0, 0.26, (count, 2)).astype(np.float32)
        return blobs(width, height, points, rng.uniform(*radii, (count, 1)).repeat(2, 1)) * edge

    @staticmethod
    def _hairs(rng: np.random.Generator, width: int, height: int) -> Array:
        t = np.linspace(-1, 1, 24)[:, None]
        lines = []
        for _ in range(int(rng.integers(7, 14))):
            turn, bend = rng.uniform(0, np.pi), rng.normal(0, 0.25)
            along, across = np.asarray([np.cos(turn), np.sin(turn)]), np.asarray([-np.sin(turn), np.cos(turn)])
            middle = rng.uniform(-0.8, 0.8, 2)
            lines.append((middle + t * along * rng.uniform(0.4, 1.0) + bend * t**2 * across, rng.uniform(1.0, 2.4)))
        return strokes(width, height, lines, soften=0.5)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, diagnosis, site and overlays."""
        over = [name for name, shown in (("hairs", self.hairs), ("ruler", self.ruler)) if shown]
        with_ = f" with {' and '.join(over)}" if over else ""
        field = ", circular field" if self.vignette else ""
        styles = (
            f"{self.kind.noun} of a {self.diagnosis} on the {self.site}{with_}{field}",
            f"{self.diagnosis}, {self.site}: {self.kind.noun}{with_}{field}",
            f"{self.kind.noun} showing {self.diagnosis} ({self._pattern}){with_}{field}",
            f"{self._pattern} in a {self.diagnosis} of the {self.site}, {self.kind.noun}{with_}{field}",
        )
        return pick(rng, styles)

    @property
    def _pattern(self) -> str:
        return {
            "melanoma": "asymmetric dark lesion with blue-white veil",
            "benign nevus": "symmetric brown lesion with regular network",
            "seborrheic keratosis": "tan lesion with milia-like cysts",
            "basal cell carcinoma": "pink lesion with branching vessels",
            "hemangioma": "red lacunae",
            "blue nevus": "homogeneous blue pigmentation",
        }[self.diagnosis]

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Pattern and size."""
        return [f"Note the {self._pattern}.", f"Largest diameter, {self.millimeters} mm."]

    @property
    def subject(self) -> str:
        """The diagnosis at its site."""
        return f"{self.diagnosis} of the {self.site}"
