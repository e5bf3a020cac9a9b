"""The one opener of images: untrusted bytes to pixels, for annotation, training, benchmark and audit alike.

Only the formats PMC and the benchmark come in, within limits, decoded to the last byte: a header that reads well says
little, and truncated files pass `PIL.Image.verify`. The bytes themselves are never changed. Images stand upright, as
their EXIF orientation has every viewer show them; modes (palette, alpha, CMYK, 16 bit) are kept until somebody asks for
RGB, which is then made in one way.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import numpy.typing as npt
import simplejpeg
from imagecodecs import png_decode
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from pydantic import Field

from biomedica_kedro.records import DataError, Options, RejectReason

# By Pillow's name: what our records call a format. MPO is a JPEG with further pictures after the first.
FORMATS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "TIFF": "tif", "WEBP": "webp", "JPEG2000": "jp2",
    "AVIF": "avif", "BMP": "bmp",
}  # fmt: skip
OPENED = tuple(name for name in FORMATS if name != "MPO")  # Pillow opens those as JPEG
Pixels = npt.NDArray[np.uint8]

_PILLOW_MAX_PIXELS = 178_956_970  # twice Image.MAX_IMAGE_PIXELS: above it Pillow itself refuses

# First bytes of what is an image or a drawing, but none that a pair can be made of.
_OTHER_FORMATS = {
    b"%PDF": "PDF", b"%!PS": "PostScript", b"\xc5\xd0\xd3\xc6": "EPS", b"RIFF": "AVI", b"<svg": "SVG",
    b"<?xml": "SVG or XML", b"8BPS": "Photoshop", b"\xd7\xcd\xc6\x9a": "WMF", b"\x01\x00\x00\x00": "EMF",
}  # fmt: skip
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error, OverflowError)
_JPEG, _JPEG_COLORS = b"\xff\xd8\xff", ("YCbCr", "Gray", "RGB")
_HEAD_BYTES = 1 << 16
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_RGB = (8, 2, 0, 0, 0)  # bits, color type, compression, filter, no interlacing
# Chunks that change neither pixels nor how they stand: no palette, transparency, profile, animation, Exif or XMP.
_PNG_PLAIN = frozenset((b"IHDR", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"bKGD", b"sBIT"))


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


ANY_SIZE = ImageLimits(max_bytes=1 << 31, min_side=1)


def open_image(content: bytes, limits: ImageLimits | None = None, *, edge: int | None = None) -> Image.Image:
    """Decode an image fully, upright, in its own mode.

    Args:
        content: the file's bytes.
        limits: see `ImageLimits`.
        edge: wanted shorter edge in pixels. A JPEG is then decoded at the smallest size that is not below it (draft
            mode: fast, but not the pixels of decoding fully and resizing).
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
        _check_size(*image.size, limits)
        if edge is not None:
            # Draft mode looks at both sides, so ask for the size that keeps the ratio.
            scale = edge / min(image.size)
            image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
        except _DAMAGE as error:
            raise DataError(RejectReason.CORRUPT_IMAGE, f"{image.format}: {error}") from error
    return image


def read_pixels(content: bytes, limits: ImageLimits | None = None, *, at_least: int | None = None) -> Pixels:
    """Decode an image to RGB: what `as_rgb` makes of `open_image`, faster where a plain JPEG or PNG allows.

    Args:
        content: the file's bytes.
        limits: see `ImageLimits`.
        at_least: a JPEG of at least twice this shortest side may be halved while it is decoded; None decodes exactly.
    Returns:
        H x W x 3; a JPEG by libjpeg-turbo at Pillow's quality settings, a PNG of 8-bit RGB by libpng, whose filters are
        faster than Pillow's.
    Raises:
        DataError: as `open_image`.
    """
    pixels = None
    if content.startswith(_JPEG):
        pixels = _read_plain_jpeg(content, limits or ImageLimits(), at_least)
    elif content.startswith(_PNG):
        pixels = _read_plain_png(content, limits or ImageLimits())
    return np.array(as_rgb(open_image(content, limits))) if pixels is None else pixels


def as_rgb(image: Image.Image) -> Image.Image:
    """Colors as seen on white paper: alpha composed, palettes resolved, more than 8 bits scaled instead of clipped.

    Args:
        image: of any mode.
    Returns:
        An image of mode RGB.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        paper = Image.new("RGBA", layers.size, "white")
        return Image.alpha_composite(paper, layers).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _read_plain_jpeg(content: bytes, limits: ImageLimits, at_least: int | None) -> Pixels | None:
    """None for what Pillow is to read, or to say what is wrong with: damaged, turned, in CMYK."""
    if content.find(b"Exif\0\0", 0, _HEAD_BYTES) >= 0 and _is_turned(content):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if colors not in _JPEG_COLORS or len(content) > limits.max_bytes:
            return None
        _check_size(width, height, limits)
        height, width = _halved(height, width, at_least)
        return np.asarray(
            simplejpeg.decode_jpeg(
                content, "RGB", fastdct=False, fastupsample=False, min_height=height, min_width=width
            )
        )
    except ValueError:
        return None


def _read_plain_png(content: bytes, limits: ImageLimits) -> Pixels | None:
    """None for what Pillow is to read, or to say what is wrong with: damaged, with a palette or alpha, turned."""
    if len(content) > limits.max_bytes or not _is_plain_png(content):
        return None
    width, height = struct.unpack_from(">II", content, 16)
    _check_size(width, height, limits)
    try:
        return np.asarray(png_decode(content))
    except (RuntimeError, ValueError):
        return None


def _is_plain_png(content: bytes) -> bool:
    """Whether it is 8-bit RGB and every chunk up to the last is one that leaves the pixels as they are."""
    if content[12:16] != b"IHDR" or tuple(content[24:29]) != _PNG_RGB:
        return False
    at, kind = len(_PNG), b""
    while kind != b"IEND" and at + 12 <= len(content):
        n_bytes, kind = struct.unpack_from(">I4s", content, at)
        is_text = kind == b"tEXt" and not content.startswith(b"Raw profile", at + 8)  # those hold Exif
        if kind not in _PNG_PLAIN and not is_text:
            return False
        at += 12 + n_bytes
    return kind == b"IEND"


def _halved(height: int, width: int, at_least: int | None) -> tuple[int, int]:
    """Height and width after as many halvings as leave a shortest side, three at most; (0, 0): none."""
    factors = (factor for factor in (8, 4, 2) if at_least is not None and min(height, width) >= factor * at_least)
    factor = next(factors, None)
    return (0, 0) if factor is None else (-(-height // factor), -(-width // factor))


def _is_turned(content: bytes) -> bool:
    return bool(_identify(content).getexif().get(_ORIENTATION, 1) != 1)


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise DataError(RejectReason.IMAGE_TOO_LARGE, f"{width} x {height} pixels, the limit is {limits.max_pixels}")
    if min(width, height) < limits.min_side:
        raise DataError(RejectReason.IMAGE_TOO_SMALL, f"{width} x {height} pixels, expected {limits.min_side} a side")


def _identify(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=OPENED)
    except Image.DecompressionBombError as error:
        raise DataError(RejectReason.IMAGE_TOO_LARGE, str(error)) from error
    except UnidentifiedImageError as error:
        head = content[:16].lstrip()
        known = next((name for magic, name in _OTHER_FORMATS.items() if head.startswith(magic)), None)
        if known is not None:
            raise DataError(RejectReason.UNSUPPORTED_FORMAT, f"{known}, expected {', '.join(OPENED)}") from error
        raise DataError(RejectReason.NOT_AN_IMAGE, f"the file begins with {content[:16]!r}") from error
    except _DAMAGE as error:
        raise DataError(RejectReason.CORRUPT_IMAGE, str(error)) from error


def _scaled(image: Image.Image) -> Image.Image:
    """Grey image of 8 bits that spans the values of one of more bits, which `convert` would clip at 255.

    What is no number is black, and infinities are the ends of the others.
    """
    values_HW = np.asarray(image, dtype=np.float64)  # H rows, W columns
    finite_N = values_HW[np.isfinite(values_HW)]
    low, high = (float(finite_N.min()), float(finite_N.max())) if finite_N.size else (0.0, 0.0)
    if low == high:
        return Image.new("L", image.size, 255 if high > 0 else 0)
    levels_HW = (np.nan_to_num(values_HW, nan=low, posinf=high, neginf=low) - low) * (255 / (high - low))
    return Image.fromarray(levels_HW.astype(np.uint8))
