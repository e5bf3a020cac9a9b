"""Electrocardiograms on gridded paper, and western blots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from biomedica_corpus.canvas import Array, font, fractal, grain, to_image
from biomedica_corpus.panel import FigureClass, Panel, pick

_PAPERS = {
    "pink": ("#fff4f2", "#f7c9c4", "#ea9a94"),
    "green": ("#f3fbf3", "#c6e6c8", "#8cc493"),
    "gray": ("#fbfbfb", "#dedede", "#b4b4b4"),
    "yellow": ("#fffbe6", "#f0e2a6", "#d8c067"),
}
# Beats a minute, jitter of the interval, width of the QRS complex in seconds.
_RHYTHMS = {
    "normal sinus rhythm": (72, 0.02, 0.035),
    "sinus bradycardia": (44, 0.02, 0.035),
    "sinus tachycardia": (128, 0.02, 0.032),
    "atrial fibrillation": (96, 0.28, 0.035),
    "ST-segment elevation": (78, 0.02, 0.038),
    "left bundle branch block": (74, 0.02, 0.085),
    "ventricular tachycardia": (170, 0.01, 0.13),
    "third-degree atrioventricular block": (36, 0.02, 0.06),
}
_LAYOUTS = {"12-lead": (4, 4), "three-channel": (3, 1), "single-lead": (1, 1), "six-lead": (6, 1)}
_LEADS = ("I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II")


@dataclass(frozen=True, slots=True, kw_only=True)
class Electrocardiogram(Panel):
    """A printed electrocardiogram."""

    kind: ClassVar[FigureClass] = FigureClass(
        "ecg", "electrocardiogram", "Clinical Imaging", "electrocardiography", 1.45
    )
    rhythm: str
    layout: str
    paper: str
    age: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw rhythm, layout and paper."""
        return cls(
            rhythm=pick(rng, list(_RHYTHMS)),
            layout=pick(rng, list(_LAYOUTS)),
            paper=pick(rng, list(_PAPERS)),
            age=int(rng.integers(17, 94)),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw paper, traces and lead names at twice the size."""
        scale = 2
        ground, fine, coarse = _PAPERS[self.paper]
        image = Image.new("RGB", (width * scale, height * scale), ground)
        draw = ImageDraw.Draw(image)
        pitch = width * scale / 60
        for k in range(61):
            color, weight = (coarse, 2) if k % 5 == 0 else (fine, 1)
            draw.line((k * pitch, 0, k * pitch, image.height), fill=color, width=weight)
            draw.line((0, k * pitch, image.width, k * pitch), fill=color, width=weight)
        rows, columns = _LAYOUTS[self.layout]
        seconds = 2.4 if rows == 1 else 4.0
        times = np.linspace(0, seconds * 2.2, 420)
        signal = self._signal(rng, times)
        for row in range(rows):
            middle = image.height * (row + 0.58) / rows
            split = 1 if (rows == 4 and row == 3) else columns
            for column in range(split):
                lead = (row * columns + column) % len(_LEADS)
                gain = (
                    image.height / rows * 0.42 * (-0.6 if _LEADS[lead] == "aVR" else 0.55 + 0.45 * ((lead * 7) % 5) / 4)
                )
                piece = slice(column * 420 // split, (column + 1) * 420 // split)
                x = times[piece] / times[-1] * image.width
                y = middle - gain * signal[piece]
                draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill="#101820", width=3, joint="curve")
                draw.text(
                    (x[0] + 8, middle - image.height / rows * 0.42),
                    _LEADS[lead],
                    fill="black",
                    font=font(image.height // 20),
                )
        return image.reduce(scale)

    def _signal(self, rng: np.random.Generator, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rate, jitter, qrs = _RHYTHMS[self.rhythm]
        interval = 60 / (rate * rng.uniform(0.94, 1.06))
        beats = np.cumsum(interval * np.clip(1 + rng.normal(0, jitter, 40), 0.45, 1.8)) - interval * rng.uniform(
            0.2, 0.9
        )
        signal = 0.012 * rng.standard_normal(len(times))

        def wave(at: npt.NDArray[np.float64], size: float, spread: float) -> npt.NDArray[np.float64]:
            return np.asarray(size * np.exp(-(((times[:, None] - at) / spread) ** 2)).sum(axis=1))

        if self.rhythm == "ventricular tachycardia":
            return np.asarray(
                0.75 * np.sin(2 * np.pi * times / interval) + 0.15 * np.sin(4 * np.pi * times / interval + 1) + signal
            )
        signal += (
            wave(beats, 1.0, qrs) - wave(beats - 1.6 * qrs, 0.16, qrs * 0.7) - wave(beats + 1.7 * qrs, 0.28, qrs * 0.8)
        )
        if self.rhythm == "left bundle branch block":
            signal += wave(beats + 0.09, 0.75, qrs * 0.8) - wave(beats + 0.34, 0.35, 0.08)
        elif self.rhythm == "ST-segment elevation":
            signal += wave(beats + 0.14, 0.42, 0.09) + wave(beats + 0.26, 0.5, 0.08)
        else:
            signal += wave(beats + 0.28, 0.27, 0.07)
        if self.rhythm == "atrial fibrillation":
            return np.asarray(
                signal + 0.06 * np.sin(2 * np.pi * 6.3 * times) + 0.04 * np.sin(2 * np.pi * 8.9 * times + 1)
            )
        atrial = np.arange(0, 30, 0.72) if self.rhythm.startswith("third") else beats - 0.16
        return np.asarray(signal + wave(atrial, 0.14, 0.04))

    def headline(self, rng: np.random.Generator) -> str:
        """Class, layout, rhythm and paper."""
        styles = (
            f"{self.layout} {self.kind.noun} showing {self.rhythm}, {self.paper} grid",
            f"{self.rhythm} on {self.layout} {self.kind.noun} ({self.paper} paper)",
            f"{self.kind.noun} ({self.layout}, {self.paper} grid) of a {self.age}-year-old patient: {self.rhythm}",
            f"{self.kind.noun} with {self.rhythm}, {self.layout} recording on {self.paper} paper",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Rate and paper speed."""
        return [
            f"Ventricular rate about {_RHYTHMS[self.rhythm][0] + int(rng.integers(-3, 4))} per minute.",
            "25 mm/s, 10 mm/mV.",
        ]

    @property
    def subject(self) -> str:
        """The rhythm."""
        return self.rhythm


_TARGETS = {
    "p-AKT": 60, "AKT": 60, "p-ERK1/2": 44, "ERK1/2": 42, "p53": 53, "cyclin D1": 36, "BAX": 21, "BCL-2": 26,
    "caspase-3": 17, "LC3-II": 14, "VEGF": 43, "E-cadherin": 120, "vimentin": 54, "NF-κB p65": 65,
}  # fmt: skip
_LOADING = {"β-actin": 42, "GAPDH": 37, "α-tubulin": 50}
_TRENDS = ("increasing", "decreasing", "unchanged", "alternating")
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WesternBlot(Panel):
    """Strips of a blot, one protein each, over a loading control."""

    kind: ClassVar[FigureClass] = FigureClass("blot", "western blot", "Immuno Assays", "immunoblot", 1.15)
    proteins: tuple[str, ...]
    loading: str
    lanes: int
    trend: str
    cells: str

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw proteins, lanes and the trend across them."""
        order = rng.permutation(list(_TARGETS))[: int(rng.integers(1, 4))]
        return cls(
            proteins=tuple(str(name) for name in order),
            loading=pick(rng, list(_LOADING)),
            lanes=int(rng.integers(3, 9)),
            trend=pick(rng, _TRENDS),
            cells=pick(
                rng, ("MCF-7 cells", "HepG2 cells", "liver lysates", "U87 cells", "cardiomyocytes", "tumor lysates")
            ),
        )

    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """Draw strips with bands, names on the left, weights on the right, lanes on top."""
        image = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(image)
        rows = [*self.proteins, self.loading]
        left, right, top = width * 0.27, width * 0.88, height * 0.15
        pitch = (height * 0.94 - top) / len(rows)
        size = max(8, height // 19)
        for row, name in enumerate(rows):
            y0, y1 = round(top + row * pitch), round(top + row * pitch + pitch * 0.82)
            strip = self._strip(rng, round(right - left), y1 - y0, is_control=row == len(rows) - 1)
            image.paste(to_image(strip), (round(left), y0))
            draw.rectangle((round(left), y0, round(right), y1), outline="black")
            middle = (y0 + y1) / 2
            draw.text((left - 4, middle), name, fill="black", font=font(size), anchor="rm")
            weight = {**_TARGETS, **_LOADING}[name]
            draw.text((right + 4, middle), f"{weight}", fill="black", font=font(size - 1), anchor="lm")
        for lane in range(self.lanes):
            x = left + (lane + 0.5) * (right - left) / self.lanes
            draw.text((x, top - 4), str(lane + 1), fill="black", font=font(size), anchor="mb")
        draw.text((right + 4, top - 4), "kDa", fill="black", font=font(size - 1), anchor="lb")
        return image

    def _strip(self, rng: np.random.Generator, width: int, height: int, *, is_control: bool) -> Array:
        lanes = np.arange(self.lanes)
        trend = {
            "increasing": 0.12 + 0.88 * lanes / (self.lanes - 1),
            "decreasing": 1 - 0.88 * lanes / (self.lanes - 1),
            "unchanged": np.full(self.lanes, 0.75),
            "alternating": np.where(lanes % 2, 0.95, 0.15),
        }[self.trend]
        strength = np.full(self.lanes, 0.85) if is_control else trend
        strength = strength * rng.uniform(0.88, 1.1, self.lanes)
        x = np.arange(width, dtype=np.float32)[None, :]
        y = np.arange(height, dtype=np.float32)[:, None]
        density = 0.06 + 0.025 * fractal(rng, width, height, 4) + 0.02 * grain(rng, width, height)
        pitch = width / self.lanes
        for lane, amount in enumerate(strength):
            center = (lane + 0.5) * pitch
            bow = 0.07 * height * ((x - center) / (0.4 * pitch)) ** 2
            middle = height * 0.52 + rng.normal(0, 0.015 * height) - bow
            across = np.clip((0.36 * pitch - np.abs(x - center)) / (0.16 * pitch) + 0.5, 0, 1)
            band = np.exp(-(((y - middle) / (height * (0.07 + 0.07 * amount))) ** 2))
            density = density + (1.5 * amount * across * band).astype(np.float32)
        return np.exp(-1.5 * density) * np.float32(0.95)

    def headline(self, rng: np.random.Generator) -> str:
        """Class, proteins, lanes and trend."""
        names = ", ".join(self.proteins)
        bands = {"alternating": "alternating strong and weak bands", "unchanged": "unchanged bands"}.get(
            self.trend, f"band intensity {self.trend} from left to right"
        )
        lanes, strips = _NUMBERS[self.lanes], _NUMBERS[len(self.proteins) + 1]
        styles = (
            f"{self.kind.noun} of {names} in {self.cells}: {bands}, {lanes} lanes",
            f"{self.kind.noun} with {lanes} lanes and {strips} strips ({names}), {bands}",
            f"{names} in {self.cells} by {self.kind.noun}, {lanes} lanes, {bands}",
            f"{bands} on {self.kind.noun} for {names} ({lanes} lanes, {strips} strips)",
        )
        return pick(rng, styles)

    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Loading control and amount."""
        return [f"{self.loading} served as loading control.", f"{10 * int(rng.integers(1, 6))} µg of protein per lane."]

    @property
    def subject(self) -> str:
        """The first protein in its cells."""
        return f"{self.proteins[0]} levels in {self.cells}"
