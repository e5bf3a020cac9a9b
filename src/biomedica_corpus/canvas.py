"""Brushes that the classes share: smooth noise, soft shapes, color ramps, text, scale bars and arrows.

Pictures are float32 arrays `picture_HWC` with colors in 0..1, or one channel `gray_HW`  (H height, W width, C color).
Coordinates run from -1 to 1 over the shorter side, x to the right and y downwards, with 0 in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Indices: TypeAlias = npt.NDArray[np.intp]
Color: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]

_POLYGON_CORNERS = 14


@lru_cache(maxsize=64)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib's package, so that no machine's own fonts decide the bytes."""
    found = find_spec("matplotlib")  # the package is not imported: its start-up would cost every command
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the embedded corpus takes its font from matplotlib: pip install matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", max(6, size))


@lru_cache(maxsize=8)
def grid(width: int, height: int) -> tuple[Array, Array]:
    """Coordinates x_HW and y_HW of every pixel; read-only."""
    half = min(width, height) / 2
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / half
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / half
    x_HW, y_HW = (np.ascontiguousarray(a, np.float32) for a in np.meshgrid(x, y))
    x_HW.flags.writeable = y_HW.flags.writeable = False
    return x_HW, y_HW


def noise(rng: np.random.Generator, width: int, height: int, cells: float) -> Array:
    """Smooth noise of zero mean and about unit variance, with `cells` bumps over the shorter side."""
    scale = cells / min(width, height)
    rows, columns = max(2, round(height * scale)) + 1, max(2, round(width * scale)) + 1
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32) * 1.25


def fractal(rng: np.random.Generator, width: int, height: int, cells: float, octaves: int = 3) -> Array:
    """Noise at `octaves` scales, each twice as fine and half as strong."""
    layers = [noise(rng, width, height, cells * 2**i) / 2**i for i in range(octaves)]
    total: Array = np.sum(layers, axis=0, dtype=np.float32)
    return total / np.float32(1.2)


def grain(rng: np.random.Generator, width: int, height: int) -> Array:
    """Independent noise in every pixel."""
    return rng.standard_normal((height, width), dtype=np.float32)


def ellipse(x: Array, y: Array, center: Point, radii: Point, *, angle: float = 0.0, soft: float = 0.03) -> Array:
    """Mask in 0..1 of an ellipse whose edge is `soft` wide.

    Works on the window that holds the ellipse: `x` must be the same in every row and `y` in every column.
    """
    reach = max(radii) * (1 + soft / min(radii)) + soft
    columns = np.flatnonzero(np.abs(x[0] - center[0]) <= reach)
    rows = np.flatnonzero(np.abs(y[:, 0] - center[1]) <= reach)
    mask = np.zeros(x.shape, np.float32)
    if not columns.size or not rows.size:
        return mask
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    dx, dy = x[window] - np.float32(center[0]), y[window] - np.float32(center[1])
    if angle:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = dx * c + dy * s, dy * c - dx * s
    distance = np.sqrt((dx / np.float32(radii[0])) ** 2 + (dy / np.float32(radii[1])) ** 2)
    mask[window] = step((1 - distance) * np.float32(min(radii)), soft)
    return mask


def step(signed_distance: Array, soft: float) -> Array:
    """0 where the distance is negative, 1 where it is positive, linear over `soft` between."""
    result: Array = np.clip(signed_distance / np.float32(soft) + np.float32(0.5), 0, 1)
    return result


def bump(value: Array, width: float) -> Array:
    """Gaussian of `value`: 1 at 0, a line of about `width` on either side."""
    result: Array = np.exp(-np.square(value / np.float32(width)))
    return result


def blend(base: Array, paint: Color | Array | float, mask: Array) -> Array:
    """`paint` over `base` where `mask` is 1; for pictures and for single channels."""
    color = np.asarray(paint, np.float32)
    if base.ndim == 2:
        return base + mask * (color - base)
    result = np.empty_like(base)
    for channel in range(3):  # three times faster than one broadcast over the last axis
        layer = base[..., channel]
        result[..., channel] = layer + mask * (color[..., channel] - layer)
    return result


def ramp(gray: Array, colors: Sequence[Color]) -> Array:
    """picture_HWC of gray values through evenly spaced colors."""
    table = np.asarray(colors, np.float32)
    positions = np.linspace(0, 1, len(colors))
    lookup = np.stack([np.interp(np.linspace(0, 1, 256), positions, table[:, c]) for c in range(3)], axis=1)
    indices = (np.clip(gray, 0, 1) * 255).astype(np.uint8)
    return np.take(lookup.astype(np.float32), indices, axis=0)


def stain(layers: Sequence[tuple[Array, Color]]) -> Array:
    """Light through stained tissue: each layer is an amount_HW of dye and the dye's absorbance of red, green, blue.

    Source: Beer-Lambert law as in Ruifrok and Johnston (2001).
    """
    channels = [np.exp(-sum(amount * np.float32(dye[channel]) for amount, dye in layers)) for channel in range(3)]
    return np.asarray(np.stack(channels, axis=-1), np.float32)


def flat(width: int, height: int, color: Color | float) -> Array:
    """A picture (for a color) or channel (for a number) of one value."""
    shape = (height, width, 3) if isinstance(color, tuple) else (height, width)
    return np.full(shape, color, np.float32)


def to_image(picture: Array) -> Image.Image:
    """RGB image of a picture or a gray channel."""
    levels = Image.fromarray(np.clip(picture * np.float32(255), 0, 255).astype(np.uint8))
    return levels.convert("RGB")


def scattered(rng: np.random.Generator, width: int, height: int, spacing: float, jitter: float = 0.45) -> Array:
    """Points (N, 2) in coordinates, about `spacing` apart on a jittered hexagonal lattice."""
    half = min(width, height) / 2
    right, bottom = width / 2 / half + spacing, height / 2 / half + spacing
    xs, ys = np.arange(-right, right, spacing), np.arange(-bottom, bottom, spacing * 0.87)
    points = np.stack(np.meshgrid(xs, ys), axis=-1)
    points[1::2, :, 0] += spacing / 2
    flat_points = points.reshape(-1, 2)
    return (flat_points + rng.uniform(-jitter, jitter, flat_points.shape) * spacing).astype(np.float32)


def values_at(field: Array, points: Array) -> Array:
    """Values of a field_HW at points (N, 2) in coordinates; points outside take the nearest pixel's."""
    height, width = field.shape
    half = min(width, height) / 2
    columns = np.clip(points[:, 0] * half + width / 2, 0, width - 1).astype(int)
    rows = np.clip(points[:, 1] * half + height / 2, 0, height - 1).astype(int)
    values: Array = field[rows, columns]
    return values


def nearest(x: Array, y: Array, seeds: Array) -> tuple[Array, Indices]:
    """How far each pixel is from the border between two seeds (N, 2), and the index of its seed.

    Computed at half the resolution, which is as fine as districts and cells need.
    """
    height, width = x.shape
    dx, dy = x[::2, ::2, None] - seeds[:, 0], y[::2, ::2, None] - seeds[:, 1]
    squares = dx * dx + dy * dy
    owner = squares.argmin(-1)[..., None]
    first = np.take_along_axis(squares, owner, -1)[..., 0]
    np.put_along_axis(squares, owner, np.inf, -1)
    margin = Image.fromarray(np.asarray(np.sqrt(squares.min(-1)) - np.sqrt(first), np.float32))
    owner_HW = owner[..., 0].repeat(2, 0).repeat(2, 1)[:height, :width]
    return np.asarray(margin.resize((width, height), Image.Resampling.BILINEAR), np.float32), owner_HW


def blobs(
    width: int,
    height: int,
    points: Array,
    radii: Array,
    *,
    angles: Array | None = None,
    fills: npt.NDArray[np.uint8] | None = None,
    outline: int = 0,
    soften: float = 0.7,
) -> Array:
    """Mask in 0..1 of many small ellipses.

    Args:
        width: of the mask in pixels.
        height: of the mask in pixels.
        points: centers (N, 2) in coordinates.
        radii: (N, 2) in coordinates.
        angles: (N,) in radians.
        fills: (N,) values 1..255; 255 if absent. With `soften` 0 they label the ellipses.
        outline: width in pixels of rings to draw instead of discs.
        soften: radius of the blur in pixels.
    """
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    half = min(width, height) / 2
    turns = np.linspace(0, 2 * np.pi, _POLYGON_CORNERS, endpoint=False)
    x, y = radii[:, :1] * np.cos(turns), radii[:, 1:] * np.sin(turns)
    if angles is not None:
        c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
        x, y = x * c - y * s, x * s + y * c
    corners = np.stack([(points[:, :1] + x) * half + width / 2, (points[:, 1:] + y) * half + height / 2], axis=-1)
    values = [255] * len(points) if fills is None else fills.tolist()
    for polygon, value in zip(corners.reshape(len(points), 2 * _POLYGON_CORNERS).tolist(), values, strict=True):
        if outline:
            draw.line([*polygon, *polygon[:2]], fill=value, width=outline)
        else:
            draw.polygon(polygon, fill=value)
    if soften:
        mask = mask.filter(ImageFilter.GaussianBlur(soften))
    return np.asarray(mask, np.float32) / np.float32(255)


def strokes(width: int, height: int, lines: Sequence[tuple[Array, float]], *, soften: float = 0.7) -> Array:
    """Mask in 0..1 of polylines: points (N, 2) in coordinates and a thickness in pixels each."""
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    half = min(width, height) / 2
    for points, thickness in lines:
        pixels = points * half + np.asarray([width / 2, height / 2])
        draw.line([tuple(p) for p in pixels.tolist()], fill=255, width=max(1, round(thickness)), joint="curve")
    if soften:
        mask = mask.filter(ImageFilter.GaussianBlur(soften))
    return np.asarray(mask, np.float32) / np.float32(255)


def label(
    image: Image.Image, text: str, place: Point, *, size: int = 11, color: str = "white", anchor: str = "lt"
) -> None:
    """Write `text` at a place given as fractions of width and height."""
    draw = ImageDraw.Draw(image)
    xy = (place[0] * image.width, place[1] * image.height)
    draw.text(xy, text, fill=color, font=font(size), anchor=anchor)


def scale_bar(image: Image.Image, text: str, *, color: str = "black", share: float = 0.22) -> None:
    """A bar in the lower right corner with its length above it."""
    draw = ImageDraw.Draw(image)
    right, bottom = image.width * 0.95, image.height * 0.94
    draw.rectangle((right - image.width * share, bottom - 3, right, bottom), fill=color)
    middle = right - image.width * share / 2
    draw.text((middle, bottom - 6), text, fill=color, font=font(image.height // 20), anchor="mb")


def arrow(image: Image.Image, tip: Point, *, angle: float, color: str = "white", length: float = 0.16) -> None:
    """An arrow that points at `tip` (in coordinates) from the direction `angle`."""
    draw = ImageDraw.Draw(image)
    half = min(image.width, image.height) / 2
    x, y = tip[0] * half + image.width / 2, tip[1] * half + image.height / 2
    dx, dy = np.cos(angle), np.sin(angle)
    reach, head = length * half, 0.07 * half
    draw.line(
        (x + dx * head, y + dy * head, x + dx * reach, y + dy * reach), fill=color, width=max(2, round(half / 55))
    )
    wing = [(x, y)]
    wing += [(x + dx * head - side * dy * head * 0.5, y + dy * head + side * dx * head * 0.5) for side in (-1, 1)]
    draw.polygon(wing, fill=color)
