"""A vision encoder that needs no weights: color, texture, edges, spectrum and layout of an image as one vector.

It is deterministic, takes a few milliseconds an image on one core, and separates kinds of figures (microscopy, scans,
plots, gels) rather than what they show. For finer labels use a learned encoder (`encoders`).
"""

# Shapes: H W height and width of the image; B bins of a histogram.

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]

SIZE = 128
"""Longest side, in pixels, of the image that is described."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_CELLS = 4
_ORIENTATIONS = 9
_LAYOUT = 8
_RINGS = 12
_WEDGES = 8
_WHITE, _BLACK = 0.93, 0.06
# How much each block counts in the distance between two images; each block has length 1 before. Chosen on the embedded
# corpus: little color, since plots come in every color, and much of edges and texture.
_WEIGHTS = {
    "tone": 0.8, "chroma": 0.5, "hue": 0.5, "texture": 1.4, "fine_texture": 1.3, "edges": 1.5, "orientation": 0.9,
    "spectrum": 1.0, "layout": 0.5, "profile": 0.4, "facts": 0.8,
}  # fmt: skip


def describe(image: Image.Image) -> Floats:
    """Descriptor of an RGB image: float32, one unit-length block per aspect times the aspect's weight.

    Args:
        image: RGB, any size and aspect; the aspect is kept and the rest padded.
    """
    small = image.copy() if max(image.size) <= SIZE else _shrunk(image)
    rgb_HW3 = np.asarray(small, dtype=np.float32) / 255.0
    saturation_HW = _saturation(rgb_HW3)
    gray_HW: Floats = (rgb_HW3 @ _LUMA).astype(np.float32)
    square_HW = _padded(gray_HW)
    dy_HW, dx_HW = _gradients(square_HW)
    blocks = {
        "tone": _histogram(gray_HW, 16, 0.0, 1.0),
        **_color(rgb_HW3, gray_HW, saturation_HW),
        "texture": _binary_patterns(square_HW, 1),
        "fine_texture": _binary_patterns(square_HW, 3),
        "edges": _edge_cells(dx_HW, dy_HW, _CELLS),
        "orientation": _edge_cells(dx_HW, dy_HW, 1),
        "spectrum": _spectrum(square_HW),
        "layout": _layout(square_HW),
        "profile": _profile(square_HW),
        "facts": _facts(rgb_HW3, gray_HW, saturation_HW, np.hypot(dx_HW, dy_HW).astype(np.float32)),
    }
    return np.concatenate([_unit(blocks[name]) * weight for name, weight in _WEIGHTS.items()]).astype(np.float32)


def _shrunk(image: Image.Image) -> Image.Image:
    scale = SIZE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


def _padded(gray_HW: Floats) -> Floats:
    """Square of SIZE, the image in its centre, around it the median of the image's border (so padding adds no edge)."""
    border = np.concatenate([gray_HW[0], gray_HW[-1], gray_HW[:, 0], gray_HW[:, -1]])
    square = np.full((SIZE, SIZE), np.median(border), dtype=np.float32)
    height, width = gray_HW.shape
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    square[top : top + height, left : left + width] = gray_HW
    return square


def _gradients(gray_HW: Floats) -> tuple[Floats, Floats]:
    dy, dx = np.gradient(gray_HW)
    return np.asarray(dy, dtype=np.float32), np.asarray(dx, dtype=np.float32)


def _histogram(values: Floats, bins: int, low: float, high: float, weights: Floats | None = None) -> Floats:
    index = np.clip(((values - low) / (high - low) * bins).astype(np.int32), 0, bins - 1).ravel()
    counts = np.bincount(index, None if weights is None else weights.ravel(), minlength=bins)
    return _hellinger(counts)


def _hellinger(counts: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> Floats:
    return np.sqrt(counts / max(float(counts.sum()), 1e-9)).astype(np.float32)


def _saturation(rgb_HW3: Floats) -> Floats:
    red, green, blue = (rgb_HW3[..., channel] for channel in range(3))
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return np.asarray(highest - lowest, dtype=np.float32)


def _color(rgb_HW3: Floats, gray_HW: Floats, saturation_HW: Floats) -> dict[str, Floats]:
    red, blue = rgb_HW3[..., 0] - gray_HW, rgb_HW3[..., 2] - gray_HW
    bins = 8
    cells = [np.clip((np.cbrt(value) * 0.55 + 0.5) * bins, 0, bins - 1).astype(np.int32) for value in (red, blue)]
    chroma = np.bincount((cells[0] * bins + cells[1]).ravel(), minlength=bins * bins)
    angle = np.arctan2(blue, red).astype(np.float32)
    strength = min(1.0, float(saturation_HW.mean()) * 8)
    hue = _histogram(angle, 12, -np.pi, np.pi, saturation_HW) * strength
    grey = np.array([1.0 - strength], dtype=np.float32)
    return {"chroma": _hellinger(chroma), "hue": np.concatenate([hue, grey])}


def _binary_patterns(gray_HW: Floats, radius: int) -> Floats:
    """Histogram of rotation-invariant uniform local binary patterns (Ojala 2002), flat pixels in a bin of their own."""
    r = radius
    centre = gray_HW[r:-r, r:-r]
    offsets = [(-r, -r), (-r, 0), (-r, r), (0, r), (r, r), (r, 0), (r, -r), (0, -r)]
    height, width = gray_HW.shape
    above = [gray_HW[r + y : height - r + y, r + x : width - r + x] > centre + 0.02 for y, x in offsets]
    below = [gray_HW[r + y : height - r + y, r + x : width - r + x] < centre - 0.02 for y, x in offsets]
    ones, lower = sum(a.view(np.int8) for a in above), sum(b.view(np.int8) for b in below)
    changes = sum((a ^ b).view(np.int8) for a, b in zip(above, [*above[1:], above[0]], strict=True))
    code = np.where((ones == 0) & (lower == 0), 10, np.where(changes <= 2, ones, 9)).astype(np.int32)
    contrast = np.minimum(lower // 3, 2)
    return _hellinger(np.bincount((code * 3 + contrast).ravel(), minlength=33))


def _edge_cells(dx_HW: Floats, dy_HW: Floats, cells: int) -> Floats:
    """Histograms of gradient orientation (undirected), weighted by magnitude, over a grid of cells."""
    magnitude = np.hypot(dx_HW, dy_HW)
    orientation = np.clip((np.arctan2(dy_HW, dx_HW) % np.pi) / np.pi * _ORIENTATIONS, 0, _ORIENTATIONS - 1)
    rows = np.arange(SIZE)[:, None] * cells // SIZE
    columns = np.arange(SIZE)[None, :] * cells // SIZE
    index = (rows * cells + columns) * _ORIENTATIONS + orientation.astype(np.int32)
    counts = np.bincount(index.ravel(), magnitude.ravel(), minlength=cells * cells * _ORIENTATIONS)
    return _hellinger(counts)


def _spectrum(gray_HW: Floats) -> Floats:
    """Log power by spatial frequency (rings) and by direction (wedges)."""
    power = np.abs(np.fft.rfft2(gray_HW - gray_HW.mean())) ** 2
    vertical = np.fft.fftfreq(SIZE)[:, None]
    horizontal = np.fft.rfftfreq(SIZE)[None, :]
    radius = np.hypot(vertical, horizontal)
    ring = np.clip((np.log2(np.maximum(radius * SIZE, 1.0)) / np.log2(SIZE / 2) * _RINGS).astype(int), 0, _RINGS - 1)
    wedge = np.clip(((np.arctan2(vertical, horizontal + 1e-9) / np.pi + 0.5) * _WEDGES).astype(int), 0, _WEDGES - 1)
    by_ring = np.log10(np.bincount(ring.ravel(), power.ravel(), minlength=_RINGS) + 1.0)
    by_wedge = _hellinger(np.bincount(wedge.ravel(), power.ravel(), minlength=_WEDGES))
    return np.concatenate([_unit(by_ring), by_wedge]).astype(np.float32)


def _layout(gray_HW: Floats) -> Floats:
    cell = SIZE // _LAYOUT
    means = gray_HW.reshape(_LAYOUT, cell, _LAYOUT, cell).mean((1, 3)).ravel()
    return np.concatenate([means, 1.0 - means]).astype(np.float32)


def _profile(gray_HW: Floats) -> Floats:
    """Sorted shares of background along rows and columns: grids, axes and margins, wherever they lie."""
    background = np.abs(gray_HW - np.median(gray_HW)) < 0.04
    return np.concatenate([np.sort(background.mean(axis))[4::8] for axis in (0, 1)]).astype(np.float32)


def _facts(rgb_HW3: Floats, gray_HW: Floats, saturation_HW: Floats, magnitude_HW: Floats) -> Floats:
    height, width = gray_HW.shape
    colors = np.bincount(((rgb_HW3 * 15).astype(np.int32) @ np.array([1, 16, 256])).ravel(), minlength=4096)
    return np.array(
        [
            (gray_HW > _WHITE).mean(),
            (gray_HW < _BLACK).mean(),
            (saturation_HW > 0.1).mean(),
            (magnitude_HW > 0.05).mean() * 2,
            np.clip(gray_HW.std() * 2, 0, 1),
            np.log2(np.count_nonzero(colors)) / 12,
            width / (width + height),
            0.5,
        ],
        dtype=np.float32,
    )


def _unit(values: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return (values / max(float(np.linalg.norm(values)), 1e-9)).astype(np.float32)
