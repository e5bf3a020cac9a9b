from __future__ import annotations

import io

import numpy as np
from PIL import Image


def pixels(seed: int, side: int = 24, channels: int = 3) -> np.ndarray:
    shape = (side, side, channels) if channels > 1 else (side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(seed: int, kind: str = "PNG", side: int = 24) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels(seed, side)).save(sink, kind)
    return sink.getvalue()
