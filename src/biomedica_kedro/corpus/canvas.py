"""Brushes that the classes share: smooth noise, soft shapes, colour maps, text, scale bars and arrows.

Pictures are float32 arrays `picture_HWC` in 0..1, or one channel `gray_HW`; y points down, coordinates run from -1 to 1
over the shorter side.
"""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow carries, so that no machine's fonts decide the bytes."""
    return ImageFont.load_default(max(6, size))
