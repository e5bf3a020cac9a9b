"""From the bytes of a figure to the square the model sees: the pixels of open_clip's transform, rounding apart.

Decoding is the opener's (`images.decode`), resizing torch's antialiased interpolation. What
that saves and how far the pixels differ from Pillow's, benchmarks/training_feed.py measures.
Shapes: H, W image height and width; S side of the square; N images. Images are uint8 until `normalize`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from biomedica_kedro.clip.config import AugmentationOptions
from biomedica_kedro.clip.sources import BICUBIC
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels

_LEVELS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """open_clip's preprocessing, as the model's configuration states it.

    Attributes:
        size: side of the square in pixels.
        resize_mode: "shortest" crops, "longest" pads with `fill_color`, "squash" distorts.
        fill_color: grey value of the padding.
        mean: per channel, of pixels in [0, 1].
        std: per channel.
        interpolation: "bicubic" or "bilinear".
    """

    size: int
    resize_mode: str
    fill_color: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = BICUBIC

    @classmethod
    def of(cls, preprocess: dict[str, Any]) -> Geometry:
        """From the `preprocess_cfg` of a model."""
        size = preprocess["size"]
        return cls(
            size=size if isinstance(size, int) else size[0],
            resize_mode=preprocess["resize_mode"],
            fill_color=preprocess["fill_color"],
            mean=tuple(preprocess["mean"]),
            std=tuple(preprocess["std"]),
            interpolation=preprocess.get("interpolation", BICUBIC),
        )

    def resize(self, image_3HW: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Antialiased resize of uint8 pixels."""
        if image_3HW.shape[-2:] == (height, width):
            return image_3HW
        return F.interpolate(image_3HW[None], size=(height, width), mode=self.interpolation, antialias=True)[0]


def decode(content: bytes, *, at_least: int | None = None) -> torch.Tensor:
    """Pixels of an image file, by the one opener (`images.decode`).

    Args:
        content: the file's bytes.
        at_least: shortest side that is needed, in pixels: a JPEG of twice that is halved, quartered or more while it is
            decoded, which is faster and not the pixels of decoding fully and resizing; None decodes fully.
    Returns:
        uint8 (3, H, W).
    Raises:
        DataError: as `read_pixels`, when no decoder can read it.
    """
    return torch.from_numpy(read_pixels(content, ANY_SIZE, at_least=at_least)).permute(2, 0, 1)


def to_square(image_3HW: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Resize without randomness, as for validation and for the benchmark.

    Returns:
        uint8 (3, S, S).
    """
    size = geometry.size
    height, width = image_3HW.shape[-2:]
    if geometry.resize_mode == "squash":
        return geometry.resize(image_3HW, size, size)
    if geometry.resize_mode == "longest":
        ratio = max(height, width) / size
        image_3HW = geometry.resize(image_3HW, max(1, round(height / ratio)), max(1, round(width / ratio)))
        return _pad(image_3HW, geometry)
    shortest = min(height, width)
    new_height, new_width = int(size * height / shortest), int(size * width / shortest)
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    return geometry.resize(image_3HW, new_height, new_width)[:, top : top + size, left : left + size]


def random_square(
    image_3HW: torch.Tensor, geometry: Geometry, options: AugmentationOptions, random: np.random.Generator
) -> torch.Tensor:
    """Resize for training: a random crop of the image when `crop_scale` is below 1."""
    if options.crop_scale == 1:
        return to_square(image_3HW, geometry)
    height, width = image_3HW.shape[-2:]
    top, left, crop_height, crop_width = _crop_box(height, width, options.crop_scale, random)
    crop = image_3HW[:, top : top + crop_height, left : left + crop_width]
    return geometry.resize(crop, geometry.size, geometry.size)


def jitter(image_3SS: torch.Tensor, options: AugmentationOptions, random: np.random.Generator) -> torch.Tensor:
    """Shift by whole pixels (edges repeat) and change the brightness.

    By numpy: torch deals even these few pixels to its threads, which on a busy machine costs a hundred times the work.
    """
    if not options.shift and not options.brightness:
        return image_3SS
    pixels_SS3 = image_3SS.permute(1, 2, 0).numpy()
    if options.shift:
        down, right = (int(value) for value in random.integers(-options.shift, options.shift + 1, 2))
        height, width, _ = pixels_SS3.shape
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        pixels_SS3 = pixels_SS3[rows][:, columns]
    if options.brightness:
        factor = np.float32(1 + options.brightness * (2 * random.random() - 1))
        pixels_SS3 = np.clip(np.rint(_LEVELS * factor), 0, 255).astype(np.uint8)[pixels_SS3]
    return torch.from_numpy(pixels_SS3).permute(2, 0, 1)


def normalize(images_N3SS: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Pixels as the model wants them: float32, zero mean and unit variance by the model's constants."""
    n_images, _, height, width = images_N3SS.shape
    mean, std = (
        torch.tensor(values, device=images_N3SS.device).mul_(255).repeat(width)
        for values in (geometry.mean, geometry.std)
    )
    # Whole rows of interleaved channels: arithmetic along them is several times as fast as along three channels.
    rows = images_N3SS.permute(0, 2, 3, 1).reshape(n_images * height, width * 3)
    return rows.float().sub_(mean).div_(std).view(n_images, height, width, 3).permute(0, 3, 1, 2)


def _pad(image_3HW: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    size = geometry.size
    height, width = image_3HW.shape[-2:]
    square = torch.full((3, size, size), geometry.fill_color, dtype=torch.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[:, top : top + height, left : left + width] = image_3HW
    return square


def _crop_box(height: int, width: int, smallest: float, random: np.random.Generator) -> tuple[int, int, int, int]:
    """The box of torchvision's RandomResizedCrop: area in [smallest, 1], aspect ratio in [3/4, 4/3]."""
    for _ in range(10):
        area = height * width * random.uniform(smallest, 1)
        ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        crop_width, crop_height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(random.integers(0, height - crop_height + 1))
            left = int(random.integers(0, width - crop_width + 1))
            return top, left, crop_height, crop_width
    side = min(max(width, 1), round(height * 4 / 3)), min(height, round(width * 4 / 3))
    crop_width, crop_height = side
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width
