"""The second stage, where the cuts leave it open whether a figure has several panels: a look at the whole figure.

A line through the middle of a brain looks like a gutter to whom sees only the line. A convolutional network of 94,000
weights sees the figure, made small, with the surest cut drawn in, and what was counted along that cut. It was trained
on drawn figures (benchmarks/train_panel_glance.py).
"""

from __future__ import annotations

from functools import cache
from math import isqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors.numpy import load_file

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_lines import Gray

Floats = npt.NDArray[np.float32]
Small = npt.NDArray[np.uint8]  # small_SSC: S = `SIDE` rows and columns, C = the figure and the cut

SIDE = 64  # pixels of the small figure
WEIGHTS = Path(__file__).with_name("panel_glance.safetensors")


def glance(gray: Gray, first: Box, second: Box, counted_F: Floats) -> float:
    """Logit of several panels.

    Args:
        gray: gray_HW of the whole figure.
        first: a piece that the surest cut makes.
        second: the other one.
        counted_F: features of that cut and its logit.
    """
    return logit_of(_network(), small_figure(gray, first, second), counted_F)


def small_figure(gray: Gray, first: Box, second: Box) -> Small:
    """The figure stretched to a small square, and a line where it may be cut."""
    height, width = gray.shape
    small_SSC = np.zeros((SIDE, SIDE, 2), np.uint8)
    size = (SIDE, SIDE)
    small_SSC[..., 0] = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    rows = _span(min(first.top, second.top), max(first.bottom, second.bottom), height)
    columns = _span(min(first.left, second.left), max(first.right, second.right), width)
    if first.right <= second.left:
        columns = _line((first.right + second.left) / 2 / width)
    else:
        rows = _line((first.bottom + second.top) / 2 / height)
    small_SSC[rows, columns, 1] = 255
    return small_SSC


def _span(start: int, end: int, length: int) -> slice:
    return slice(start * SIDE // length, max(start * SIDE // length + 1, -(-end * SIDE // length)))


def _line(place: float) -> slice:
    """Two pixels on the small figure, around a place between 0 and 1."""
    middle = min(max(round(place * SIDE), 1), SIDE - 1)
    return slice(middle - 1, middle + 1)


def logit_of(tensors: dict[str, Floats], small_SSC: Small, counted_F: Floats) -> float:
    """What a network answers.

    Args:
        tensors: `conv_i` and `conv_bias_i` of square kernels that go two pixels at a time, `mean` and `scale` of what
            was counted, `weight_i` and `bias_i` of two dense layers.
        small_SSC: see `small_figure`.
        counted_F: see `glance`.
    """
    seen_HWC: Floats = small_SSC.astype(np.float32) / np.float32(255) - np.float32(0.5)
    layers = sum(name.startswith("conv_bias_") for name in tensors)
    for layer in range(layers):
        seen_HWC = _convolved(seen_HWC, tensors[f"conv_{layer}"], tensors[f"conv_bias_{layer}"])
    counted = np.clip((counted_F - tensors["mean"]) / tensors["scale"], -4, 4)
    values = np.concatenate([seen_HWC.mean(axis=(0, 1)), seen_HWC.max(axis=(0, 1)), counted])
    hidden = np.maximum(values @ tensors["weight_0"] + tensors["bias_0"], 0)
    return float((hidden @ tensors["weight_1"] + tensors["bias_1"])[0])


def _convolved(seen_HWC: Floats, kernel_ND: Floats, bias_D: Floats) -> Floats:
    """Rectified, with half the rows and columns; N are the values below the kernel, row by row, channel last."""
    height, width, channels = seen_HWC.shape
    side = isqrt(len(kernel_ND) // channels)
    padded = np.pad(seen_HWC, ((1, 1), (1, 1), (0, 0)))
    below = [padded[row : row + height : 2, column : column + width : 2] for row, column in np.ndindex(side, side)]
    below = [part[: height // 2, : width // 2] for part in below]
    values_PN = np.concatenate(below, axis=2).reshape(-1, side * side * channels)
    rectified: Floats = np.maximum(values_PN @ kernel_ND + bias_D, 0).reshape(height // 2, width // 2, -1)
    return rectified


@cache
def _network() -> dict[str, Floats]:
    return load_file(WEIGHTS)
