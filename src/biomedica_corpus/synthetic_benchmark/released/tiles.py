"""Drawn pictures: stripes and speckles whose color and direction tell the class."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
SIDE = 48


def tile(position: int, of: int, seed: int, *, side: int = SIDE) -> Pixels:
    """A side x side x 3 picture of class `position` of `of`; no two seeds give the same one."""
    rng = np.random.default_rng([position, of, seed])
    row, column = np.mgrid[:side, :side]
    angle, turn = np.pi * position / max(of, 1), 2 * np.pi * position / max(of, 1)
    stripes = np.sin((row * np.sin(angle) + column * np.cos(angle)) / (2.0 + position % 3) + rng.uniform(0, 6))
    color = 128 + 90 * np.array([np.cos(turn), np.cos(turn + 2.1), np.cos(turn + 4.2)])
    drawn = color + 25 * stripes[:, :, None] + rng.normal(0, 12, (side, side, 3))
    return np.asarray(np.clip(drawn, 0, 255), dtype=np.uint8)


def encoded(picture: Pixels, kind: str = "PNG") -> bytes:
    """The picture as a file's bytes."""
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, kind)
    return sink.getvalue()
