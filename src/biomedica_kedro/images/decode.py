"""Open untrusted images: only the formats PMC publishes, within limits, decoded to the last byte.

A header that reads well says little: truncated and damaged files pass `PIL.Image.verify`. So every image is decoded.
The bytes themselves are never changed; modes (palette, alpha, CMYK, 16 bit) are kept until somebody asks for RGB.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from biomedica_kedro.records import DataError, Options, RejectReason

FORMATS = ("JPEG", "PNG", "GIF", "TIFF")
_PILLOW_MAX_PIXELS = 178_956_970  # twice Image.MAX_IMAGE_PIXELS: above it Pillow itself refuses

# First bytes of what is an image or a drawing, but none that a pair can be made of.
_OTHER_FORMATS = {
    b"%PDF": "PDF", b"%!PS": "PostScript", b"\xc5\xd0\xd3\xc6": "EPS", b"BM": "BMP", b"RIFF": "WebP or AVI",
    b"<svg": "SVG", b"<?xml": "SVG or XML", b"\x00\x00\x00\x0cjP": "JPEG 2000", b"8BPS": "Photoshop",
}  # fmt: skip
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error, OverflowError)


class ImageLimits(Options):
    """What is taken as an image.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height, checked before anything is decoded; about 4 bytes of memory each.
        min_side: smaller images are spacers and icons, in pixels.
    """

    max_bytes: int = Field(default=64 << 20, ge=1)
    max_pixels: int = Field(default=150_000_000, ge=1, le=_PILLOW_MAX_PIXELS)
    min_side: int = Field(default=32, ge=1)


def open_image(content: bytes, limits: ImageLimits | None = None) -> Image.Image:
    """Decode an image fully, in its own mode.

    Args:
        content: the file's bytes.
        limits: see `ImageLimits`.
    Returns:
        The first frame, loaded; its `format` says what the bytes are, whatever the file's name.
    Raises:
        DataError: IMAGE_TOO_LARGE, IMAGE_TOO_SMALL, NOT_AN_IMAGE, UNSUPPORTED_FORMAT or CORRUPT_IMAGE.
    """
    limits = limits or ImageLimits()
    if len(content) > limits.max_bytes:
        raise DataError(RejectReason.IMAGE_TOO_LARGE, f"{len(content)} bytes, the limit is {limits.max_bytes}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own limits decide; Pillow's warnings are for those who have none
        image = _identify(content)
        width, height = image.size
        if width * height > limits.max_pixels:
            raise DataError(
                RejectReason.IMAGE_TOO_LARGE, f"{width} x {height} pixels, the limit is {limits.max_pixels}"
            )
        if min(width, height) < limits.min_side:
            raise DataError(
                RejectReason.IMAGE_TOO_SMALL, f"{width} x {height} pixels, expected {limits.min_side} a side"
            )
        try:
            image.load()
        except _DAMAGE as error:
            raise DataError(RejectReason.CORRUPT_IMAGE, f"{image.format}: {error}") from error
    return image


def as_rgb(image: Image.Image) -> Image.Image:
    """Colours as seen on white paper: alpha composed, palettes resolved, 16 bits scaled instead of clipped.

    Args:
        image: of any mode.
    Returns:
        An image of mode RGB.
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        layers = image.convert("RGBA")
        paper = Image.new("RGBA", layers.size, "white")
        return Image.alpha_composite(paper, layers).convert("RGB")
    return image.convert("RGB")


def _identify(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(RejectReason.IMAGE_TOO_LARGE, str(error)) from error
    except UnidentifiedImageError as error:
        head = content[:16].lstrip()
        known = next((name for magic, name in _OTHER_FORMATS.items() if head.startswith(magic)), None)
        if known is not None:
            raise DataError(RejectReason.UNSUPPORTED_FORMAT, f"{known}, expected {', '.join(FORMATS)}") from error
        raise DataError(RejectReason.NOT_AN_IMAGE, f"the file begins with {content[:16]!r}") from error
    except _DAMAGE as error:
        raise DataError(RejectReason.CORRUPT_IMAGE, str(error)) from error


def _scaled(image: Image.Image) -> Image.Image:
    """Grey image of 8 bits that spans the values of one of more bits, which `convert` would clip at 255."""
    values_HW = np.asarray(image, dtype=np.float32)  # H rows, W columns
    low, high = float(values_HW.min()), float(values_HW.max())
    span = high - low
    if span == 0 or not np.isfinite(span):
        return Image.new("L", image.size, 255 if high > 0 else 0)
    return Image.fromarray(((values_HW - low) * (255 / span)).astype(np.uint8))
