"""Corruptions of images at five severities, as MedMNIST-C defines them, for any image task.

Kinds and severities are those of each MedMNIST set in MedMNIST-C (arXiv 2406.17536, package medmnistc 0.1.0); any other
task takes those of its dermoscopy set. Images are 224 pixels on their shorter side first, the size that severities are
meant for. Left out: motion and zoom blur, and what is drawn onto images of one modality only (stain deposits, bubbles,
black corners, characters). Noise is drawn from the image's own name: the same bytes each time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance
from pydantic import RootModel

from biomedica_kedro.benchmark.samples import Pixels
from biomedica_kedro.strict_yaml import read_yaml

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 224
_ANY_TASK = "dermamnist"

Strength = Any  # a number, or a pair for defocus
Generator = np.random.Generator


def corruptions_of(task_id: str) -> Mapping[str, tuple[Strength, ...]]:
    """The corruptions of a task, each with its strength at the five severities."""
    known = read_yaml(Path(__file__).with_name("corruptions.yml"), _Strengths).root
    return known.get(task_id, known[_ANY_TASK])


class _Strengths(RootModel[dict[str, dict[str, tuple[Strength, ...]]]]):
    """Strengths of each corruption by task."""


def sized(image: Pixels) -> Pixels:
    """The image with its shorter side at 224 pixels."""
    height, width = image.shape[:2]
    scale = SIDE / min(height, width)
    size = (max(SIDE, round(width * scale)), max(SIDE, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def corrupt(image: Pixels, kind: str, strength: Strength, *, name: str) -> Pixels:
    """Corrupt an image of `sized`.

    Args:
        image: H x W x 3, uint8.
        kind: a key of `corruptions_of`.
        strength: one of its values.
        name: of the image, from which noise is drawn.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{name}/{kind}".encode()).digest()[:8], "big"))
    return _KINDS[kind](image, strength, rng)


def _as_uint8(unit: npt.NDArray[np.float64]) -> Pixels:
    """Values of 0 to 1 as bytes."""
    return np.asarray(np.clip(unit, 0, 1) * 255, dtype=np.uint8)


def _pixelate(image: Pixels, share: float, rng: Generator) -> Pixels:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def _jpeg(image: Pixels, quality: int, rng: Generator) -> Pixels:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG", quality=quality)
    return np.asarray(Image.open(sink).convert("RGB"))


def _gaussian_noise(image: Pixels, deviation: float, rng: Generator) -> Pixels:
    return _as_uint8(image / 255 + rng.normal(0, deviation, image.shape))


def _speckle_noise(image: Pixels, deviation: float, rng: Generator) -> Pixels:
    return _as_uint8(image / 255 * (1 + rng.normal(0, deviation, image.shape)))


def _impulse_noise(image: Pixels, share: float, rng: Generator) -> Pixels:
    drawn = rng.random(image.shape)
    noisy = np.where(drawn < share / 2, 0, image)
    return np.asarray(np.where(drawn > 1 - share / 2, 255, noisy), dtype=np.uint8)


def _shot_noise(image: Pixels, photons: float, rng: Generator) -> Pixels:
    return _as_uint8(rng.poisson(image / 255 * photons) / photons)


def _gaussian_blur(image: Pixels, width: int, rng: Generator) -> Pixels:
    """A kernel of `width` pixels, its deviation as OpenCV derives it."""
    from scipy.ndimage import gaussian_filter

    deviation = 0.3 * ((width - 1) * 0.5 - 1) + 0.8
    return np.asarray(gaussian_filter(image, (deviation, deviation, 0), radius=(width // 2, width // 2, 0)))


def _defocus_blur(image: Pixels, disk: tuple[float, float], rng: Generator) -> Pixels:
    """A disk of a radius, its edge smoothed."""
    from scipy.ndimage import gaussian_filter
    from scipy.signal import oaconvolve

    radius, smoothing = disk
    reach = int(np.ceil(max(8, radius)))
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = gaussian_filter((row**2 + column**2 <= radius**2).astype(float), smoothing)
    padded = np.pad(image / 255, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return _as_uint8(oaconvolve(padded, kernel[:, :, None] / kernel.sum(), mode="valid", axes=(0, 1)))


def _brightness(image: Pixels, factor: float, rng: Generator) -> Pixels:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor))


def _contrast(image: Pixels, factor: float, rng: Generator) -> Pixels:
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(factor))


def _gamma(image: Pixels, gamma: float, rng: Generator) -> Pixels:
    return _as_uint8((image / 255) ** gamma)


def _saturate(image: Pixels, added: float, rng: Generator) -> Pixels:
    hsv = np.asarray(Image.fromarray(image).convert("HSV"), dtype=np.float64)
    hsv[:, :, 1] = np.clip(hsv[:, :, 1] + 255 * added, 0, 255)
    return np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))


_KINDS: Mapping[str, Callable[[Pixels, Strength, Generator], Pixels]] = {
    "pixelate": _pixelate, "jpeg_compression": _jpeg, "gaussian_noise": _gaussian_noise,
    "speckle_noise": _speckle_noise, "impulse_noise": _impulse_noise, "shot_noise": _shot_noise,
    "gaussian_blur": _gaussian_blur, "defocus_blur": _defocus_blur, "brightness_up": _brightness,
    "brightness_down": _brightness, "contrast_up": _contrast, "contrast_down": _contrast, "gamma_corr_up": _gamma,
    "gamma_corr_down": _gamma, "saturate": _saturate,
}  # fmt: skip
