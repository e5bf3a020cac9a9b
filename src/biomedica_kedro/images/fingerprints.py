"""Fingerprints of an image: sha256 of its bytes for sameness, a perceptual hash for likeness.

The perceptual hash is the sign pattern of the lowest frequencies of a small grey copy (pHash): re-encoding, scaling and
slight changes of brightness flip few of its 64 bits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from biomedica_kedro.images.decode import FORMATS, ImageLimits, as_rgb, open_image

_SIDE = 32
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What is known of an image file; the columns of `records.FIGURE_IMAGES` that speak of the file.

    Attributes:
        width: in pixels, as seen: of an image that EXIF turns, the height of its bytes.
        height: in pixels, as seen.
        mode: Pillow's name of the colour mode ("RGB", "RGBA", "P", "L", "I;16", "CMYK", ...).
        format: "jpg", "png", "webp", ... (`decode.FORMATS`), by the bytes and not by the name.
        sha256: of the bytes as published.
        phash: 16 hexadecimal digits.
    """

    width: int
    height: int
    mode: str
    format: str
    n_bytes: int
    sha256: str
    phash: str


def read_facts(content: bytes, limits: ImageLimits | None = None) -> ImageFacts:
    """Decode an image and say what it is.

    Raises:
        DataError: see `open_image`.
    """
    image = open_image(content, limits)
    return ImageFacts(
        width=image.width,
        height=image.height,
        mode=image.mode,
        format=FORMATS[str(image.format)],
        n_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        phash=perceptual_hash(image),
    )


def perceptual_hash(image: Image.Image) -> str:
    """64-bit perceptual hash of an image of any mode, as 16 hexadecimal digits."""
    small = image if image.mode == "L" and not image.has_transparency_data else as_rgb(image)
    grey = small.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0).convert("L")
    pixels_SS = np.asarray(grey, dtype=np.float64)  # S x S grey values, S = 32
    low_KK = _COSINES_KS @ pixels_SS @ _COSINES_KS.T  # K lowest frequencies a side, K = 8
    bits = low_KK.ravel() > np.median(low_KK.ravel()[1:])
    return np.packbits(bits).tobytes().hex()


def hamming_distance(left: str, right: str) -> int:
    """Number of bits in which two perceptual hashes differ, 0 to 64."""
    return (int(left, 16) ^ int(right, 16)).bit_count()


def _cosines() -> np.ndarray:
    """The first K rows of the matrix of the discrete cosine transform (type II) of S points."""
    frequency_K1 = np.arange(_KEPT)[:, None]
    return np.cos(np.pi * frequency_K1 * (2 * np.arange(_SIDE)[None, :] + 1) / (2 * _SIDE))


_COSINES_KS = _cosines()
