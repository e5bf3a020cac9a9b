"""Cells in fluorescence and surfaces under the scanning electron microscope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import (
    Array,
    blobs,
    bump,
    flat,
    font,
    fractal,
    grain,
    grid,
    label,
    nearest,
    noise,
    scale_bar,
    scattered,
    to_image,
)
from biomedica_corpus.panel import FigureClass, Panel, chance, pick

_CHANNELS = {
    "green": (0.1, 1.0, 0.25), "red": (1.0, 0.12, 0.1), "magenta": (1.0, 0.15, 0.9), "yellow": (1.0, 0.9, 0.1),
    "cyan": (0.1, 0.9, 1.0),
}  # fmt: skip
_PROTEINS = {
    "actin filaments": ("phalloidin", "F-actin"), "microtubules": ("α-tubulin", "β-tubulin"),
    "mitochondria": ("TOM20", "MitoTracker"), "cell borders": ("ZO-1", "β-catenin"), "nuclear foci": ("γH2AX", "53BP1"),
}  # fmt: skip
_CELL_LINES = (
    "HeLa cells",
    "fibroblasts",
    "HEK293 cells",
    "keratinocytes",
    "endothelial cells",
    "astrocytes",
    "A549 cells",
)
_CELL_SPACING = {"sparse": 0.62, "subconfluent": 0.45, "confluent": 0.3}
_DAPI = (0.12, 0.25, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluorescence(Panel):
    """Cells with blue nuclei and one more channel."""

    kind: ClassVar[FigureClass] = FigureClass(
        "fluorescence", "fluorescence microscopy", "Microscopy", "fluorescence microscopy"
    )
    structure: str
    protein: str
    channel: str
    cells: str
    density: str
    shows_nuclei: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw structure, protein, channel, cells and density."""
        structure = pick(rng, list(_PROTEINS))
        return cls(
            structure=structure,
            protein=pick(rng, _PROTEINS[structure]),
            channel=pick(rng, list(_CHANNELS)),
            cells=pick(rng, _CELL_LINES),
            density=pick(rng, list(_CELL_SPACING)),
            shows_nuclei=chance(rng, 0.8),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw cells, their structure and nuclei, with haze and shot noise."""
        spacing = _CELL_SPACING[self.density]
        centers = scattered(rng, width, height, spacing, 0.22)
        if self.density == "sparse":
            centers = centers[rng.random(len(centers)) < 0.6]
        count = len(centers)
        angles = rng.uniform(0, np.pi, count).astype(np.float32)
        radii = spacing * np.stack([rng.uniform(0.42, 0.6, count), rng.uniform(0.3, 0.42, count)], axis=1)
        nuclei = blobs(width, height, centers, radii * 0.42, angles=angles, soften=1.2)
        pattern = self._pattern(rng, centers, radii, angles, (width, height))
        haze = blobs(width, height, centers, radii, angles=angles, soften=6) * 0.13
        signal = pattern * (1 + 0.2 * fractal(rng, width, height, 5)) + haze
        shot = 0.03 * grain(rng, width, height)
        picture = np.clip(signal + shot * (0.5 + signal), 0, 1.2)[..., None] * np.asarray(
            _CHANNELS[self.channel], np.float32
        )
        if self.shows_nuclei:
            chromatin = nuclei * (0.75 + 0.18 * noise(rng, width, height, 45))
            picture = picture + np.clip(chromatin, 0, 1)[..., None] * np.asarray(_DAPI, np.float32)
        image = to_image(picture + np.float32(0.015))
        scale_bar(image, "20 µm", color="white")
        return image

    def _pattern(
        self, rng: np.random.Generator, centers: Array, radii: Array, angles: Array, size: tuple[int, int]
    ) -> Array:
        width, height = size
        x, y = grid(width, height)
        count = len(centers)
        body = blobs(width, height, centers, radii, angles=angles, soften=2.5)
        nuclei = blobs(width, height, centers, radii * 0.45, angles=angles, soften=2)
        if self.structure == "cell borders":
            margin, _ = nearest(x, y, centers)
            return bump(margin, 0.035) * (1.1 + 0.15 * noise(rng, width, height, 30))
        if self.structure == "nuclear foci":
            near = centers.repeat(9, 0) + rng.normal(0, 0.16, (9 * count, 2)).astype(np.float32) * radii.repeat(9, 0)
            return blobs(width, height, near, np.full((9 * count, 2), 0.016), soften=1) * np.float32(1.5) + 0.2 * nuclei
        if self.structure == "mitochondria":
            network: Array = bump(noise(rng, width, height, 26), 0.28)
            return network * np.clip(body - nuclei, 0, 1)
        fills = (1 + np.arange(count) % 254).astype(np.uint8)
        owner = np.rint(blobs(width, height, centers, radii, angles=angles, fills=fills, soften=0) * 255).astype(int)
        turn: Array = np.concatenate([[0], angles]).astype(np.float32)[np.clip(owner, 0, count)]
        warp = np.float32(0.06) * noise(rng, width, height, 7)
        across = (x + warp) * np.sin(turn) - (y + warp) * np.cos(turn)
        if self.structure == "actin filaments":
            fibers: Array = np.clip(np.sin(across * 125) * 1.4 + noise(rng, width, height, 14) * 0.5, 0, 1)
            return body * (0.18 + 0.75 * fibers)
        mesh = np.maximum(bump(noise(rng, width, height, 20), 0.14), bump(noise(rng, width, height, 32), 0.14))
        lit: Array = 0.25 * (1 - nuclei) + 0.85 * mesh * (1 - 0.7 * nuclei)
        return body * lit

    def headline(self, rng: np.random.Generator) -> str:
        """Class, structure, channel and cells."""
        nuclei = "blue nuclei (DAPI)" if self.shows_nuclei else "no nuclear counterstain"
        cells = f"{self.density} {self.cells}"
        styles = (
            f"{self.kind.noun} of {cells}: {self.structure} ({self.protein}, {self.channel}), {nuclei}",
            f"{self.kind.noun}, {self.channel} {self.protein} marking {self.structure} in {cells}, {nuclei}",
            f"{self.structure} in {self.channel} by {self.kind.noun} ({self.protein}; {cells}; {nuclei})",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Scale bar and exposure."""
        return ["Scale bar, 20 µm.", f"Exposure, {50 * int(rng.integers(2, 20))} ms."]

    @property
    def subject(self) -> str:
        """Structure in cells."""
        return f"{self.structure} in {self.cells}"


def _spheres(rng: np.random.Generator, width: int, height: int, radius: float, lift: float = 0.5) -> Array:
    """Height of a heap of spheres."""
    x, y = grid(width, height)
    half = min(width, height) / 2
    surface = 0.03 * noise(rng, width, height, 8)
    points = scattered(rng, width, height, radius * 2.1, 0.35)
    for px, py in points[rng.random(len(points)) < 0.75]:
        size = radius * float(rng.uniform(0.8, 1.15))
        left, right = int((px - size) * half + width / 2), int((px + size) * half + width / 2) + 2
        top, bottom = int((py - size) * half + height / 2), int((py + size) * half + height / 2) + 2
        window = (slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0)))
        square = size**2 - (x[window] - px) ** 2 - (y[window] - py) ** 2
        dome = np.sqrt(np.maximum(square, 0)) + lift * size * float(rng.uniform(0, 1))
        surface[window] = np.where(square > 0, np.maximum(surface[window], dome), surface[window])
    return surface


def _rods(rng: np.random.Generator, width: int, height: int) -> Array:
    surface = 0.03 * noise(rng, width, height, 10)
    x, y = grid(width, height)
    half = min(width, height) / 2
    for px, py in scattered(rng, width, height, 0.3, 0.5):
        radius, length, turn = (
            float(rng.uniform(0.055, 0.075)),
            float(rng.uniform(0.14, 0.24)),
            float(rng.uniform(0, np.pi)),
        )
        reach = radius + length
        rows = slice(max(int((py - reach) * half + height / 2), 0), max(int((py + reach) * half + height / 2), 0))
        columns = slice(max(int((px - reach) * half + width / 2), 0), max(int((px + reach) * half + width / 2), 0))
        dx, dy = x[rows, columns] - px, y[rows, columns] - py
        along = np.clip(dx * np.cos(turn) + dy * np.sin(turn), -length, length)
        square = radius**2 - (dx - along * np.cos(turn)) ** 2 - (dy - along * np.sin(turn)) ** 2
        dome = np.sqrt(np.maximum(square, 0)) + 0.04 * float(rng.uniform(0, 1))
        patch = surface[rows, columns]
        surface[rows, columns] = np.where(square > 0, np.maximum(patch, dome), patch)
    return surface


def _fibers(rng: np.random.Generator, width: int, height: int) -> Array:
    x, y = grid(width, height)
    surface = flat(width, height, -0.12)
    for layer in range(16):
        turn, shift = float(rng.uniform(0, np.pi)), float(rng.uniform(-0.9, 0.9))
        radius = float(rng.uniform(0.025, 0.06))
        across = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn)) - np.float32(shift)
        square = radius**2 - across**2
        dome = np.sqrt(np.maximum(square, 0)) + np.float32(0.012 * layer)
        surface = np.where(square > 0, np.maximum(surface, dome), surface)
    return surface


def _discs(rng: np.random.Generator, width: int, height: int) -> Array:
    """Erythrocytes: discs with a dimple."""
    x, y = grid(width, height)
    surface = 0.02 * noise(rng, width, height, 6)
    for px, py in scattered(rng, width, height, 0.52, 0.3):
        radius, squash, turn = float(rng.uniform(0.22, 0.27)), float(rng.uniform(0.6, 1)), float(rng.uniform(0, np.pi))
        dx, dy = x - px, y - py
        u = dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))
        v = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(squash)
        q = np.clip((u * u + v * v) / np.float32(radius**2), 0, 1)
        dome = np.float32(0.16) * np.sqrt(1 - q) * (0.45 + 2.0 * q - 1.3 * q * q) + np.float32(rng.uniform(0, 0.08))
        surface = np.where(q < 1, np.maximum(surface, dome), surface)
    return surface


def _pores(rng: np.random.Generator, width: int, height: int) -> Array:
    struts: Array = np.maximum(bump(noise(rng, width, height, 6), 0.5), 0.75 * bump(noise(rng, width, height, 8), 0.42))
    return 0.45 * np.minimum(struts, 0.8) + 0.004 * noise(rng, width, height, 70)


def _pollen(rng: np.random.Generator, width: int, height: int) -> Array:
    """One large sphere with spines."""
    x, y = grid(width, height)
    square = np.float32(0.66**2) - x * x - y * y
    ball = np.sqrt(np.maximum(square, 0))
    stretch = 1 / np.sqrt(np.maximum(1 - (x * x + y * y) / np.float32(0.70**2), 0.08))
    spines = np.clip(np.sin(x * stretch * 16) * np.sin(y * stretch * 16 + 1) * 1.8 - 0.7, 0, 1)
    return np.where(square > 0, ball + np.float32(0.09) * spines, 0.02 * noise(rng, width, height, 12))


_SURFACES: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "spherical cocci": lambda rng, width, height: _spheres(rng, width, height, 0.12),
    "rod-shaped bacteria": _rods,
    "nanoparticles": lambda rng, width, height: _spheres(rng, width, height, 0.055, 1.5),
    "electrospun fibers": _fibers,
    "biconcave erythrocytes": _discs,
    "a porous scaffold": _pores,
    "a spiny pollen grain": _pollen,
}
_BARS = {
    "spherical cocci": "1 µm", "rod-shaped bacteria": "2 µm", "nanoparticles": "200 nm", "electrospun fibers": "10 µm",
    "biconcave erythrocytes": "5 µm", "a porous scaffold": "100 µm", "a spiny pollen grain": "10 µm",
}  # fmt: skip
_SUBSTRATES = ("a polycarbonate filter", "titanium", "glass", "a silicon wafer", "enamel", "a catheter")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanningElectron(Panel):
    """A surface lit by an electron beam: bright edges, a data bar below."""

    kind: ClassVar[FigureClass] = FigureClass("sem", "scanning electron micrograph", "Microscopy", "scanning electron")
    specimen: str
    substrate: str
    kilovolts: int
    magnification: int
    has_data_bar: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw specimen, substrate, voltage and magnification."""
        return cls(
            specimen=pick(rng, list(_SURFACES)),
            substrate=pick(rng, _SUBSTRATES),
            kilovolts=pick(rng, (3, 5, 10, 15, 20)),
            magnification=1000 * int(rng.integers(1, 40)),
            has_data_bar=chance(rng, 0.7),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Shade the surface's slopes."""
        surface = _SURFACES[self.specimen](rng, width, height) * np.float32(min(width, height) / 2)
        slope_y, slope_x = np.gradient(surface)
        length = np.sqrt(1 + slope_x**2 + slope_y**2)
        light = (0.5 + slope_x * 0.55 + slope_y * 0.75) / length
        edge = 1 - 1 / length
        gray = 0.16 + 0.36 * light + 0.52 * edge + 0.0055 * (surface - surface.mean())
        gray = gray + 0.035 * grain(rng, width, height) + 0.02 * fractal(rng, width, height, 3)
        image = to_image(np.clip(gray * np.float32(rng.uniform(0.9, 1.2)), 0, 1))
        if self.has_data_bar:
            self._draw_data_bar(image)
        return image

    def _draw_data_bar(self, image: Image.Image) -> None:
        draw = ImageDraw.Draw(image)
        top, size = int(image.height * 0.9), image.height // 22
        draw.rectangle((0, top, image.width, image.height), fill="black")
        middle = (top + image.height) / 2
        text = f"{self.kilovolts}.0 kV  ×{self.magnification:,}"
        draw.text((6, middle), text, fill="white", font=font(size), anchor="lm")
        draw.rectangle((image.width * 0.6, middle - 1, image.width * 0.78, middle + 1), fill="white")
        label(image, _BARS[self.specimen], (0.81, 0.95), size=size, anchor="lm")

    def headline(self, rng: np.random.Generator) -> str:
        """Class, specimen and substrate."""
        styles = (
            f"{self.kind.noun} of {self.specimen} on {self.substrate}, ×{self.magnification:,}",
            f"{self.specimen} on {self.substrate}: {self.kind.noun}, {self.kilovolts} kV",
            f"{self.kind.noun} ({self.kilovolts} kV) showing {self.specimen}, {self.substrate} substrate",
            f"surface of {self.substrate} with {self.specimen}, {self.kind.noun} at ×{self.magnification:,}",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Data bar and coating."""
        bar = [f"Scale bar, {_BARS[self.specimen]}."] if self.has_data_bar else []
        return [*bar, f"Sputter-coated with {int(rng.integers(5, 21))} nm of gold."]

    @property
    def subject(self) -> str:
        """Specimen on its substrate."""
        return f"{self.specimen} on {self.substrate}"
