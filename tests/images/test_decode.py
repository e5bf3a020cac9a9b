"""Untrusted image bytes: limits, damage, modes."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from biomedica_kedro.images.decode import ImageLimits, as_rgb, open_image
from biomedica_kedro.images.fingerprints import hamming_distance, perceptual_hash, read_facts
from biomedica_kedro.records import DataError, RejectReason


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(mode: str = "RGB", side: int = 128) -> Image.Image:
    waves_HW = np.sin(np.linspace(0, 9, side))[:, None] * np.cos(np.linspace(0, 5, side))[None, :]
    return Image.fromarray(((waves_HW + 1) * 127).astype(np.uint8)).convert("RGB").convert(mode)


def reason_of(content: bytes, **limits: int) -> RejectReason:
    with pytest.raises(DataError) as caught:
        open_image(content, ImageLimits(**limits))
    return caught.value.reason


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    )


@pytest.mark.parametrize(
    ("kind", "mode", "extension"),
    [
        ("JPEG", "RGB", "jpg"), ("JPEG", "L", "jpg"), ("JPEG", "CMYK", "jpg"), ("PNG", "RGBA", "png"),
        ("PNG", "P", "png"), ("PNG", "LA", "png"), ("PNG", "1", "png"), ("PNG", "I;16", "png"), ("GIF", "P", "gif"),
        ("TIFF", "RGB", "tif"), ("TIFF", "CMYK", "tif"), ("TIFF", "I;16", "tif"), ("TIFF", "F", "tif"),
    ],
)  # fmt: skip
def test_every_mode_is_kept_and_described(kind, mode, extension):
    image = photo("L").convert("I").convert(mode) if mode == "I;16" else photo(mode)
    content = encoded(image, kind)
    facts = read_facts(content)
    assert (facts.mode, facts.format, facts.width, facts.height) == (mode, extension, 128, 128)
    assert facts.n_bytes == len(content)
    assert as_rgb(open_image(content)).mode == "RGB"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    content = encoded(noise if kind != "GIF" else noise.convert("P"), kind)
    assert reason_of(content[: int(len(content) * share)]) in {RejectReason.CORRUPT_IMAGE, RejectReason.NOT_AN_IMAGE}


def test_pixel_bombs_are_refused_before_decoding():
    assert reason_of(png_header(60_000, 60_000)) is RejectReason.IMAGE_TOO_LARGE
    assert reason_of(png_header(12_000, 12_000), max_pixels=100_000_000) is RejectReason.IMAGE_TOO_LARGE


def test_large_files_are_refused_unread():
    assert reason_of(b"\xff\xd8" + bytes(1000), max_bytes=1000) is RejectReason.IMAGE_TOO_LARGE


def test_spacers_are_too_small():
    assert reason_of(encoded(photo(side=8), "PNG")) is RejectReason.IMAGE_TOO_SMALL


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not_an_image"),
        (b"<html><body>404</body></html>", "not_an_image"),
        (b"%PDF-1.7 ...", "unsupported_format"),
        (b"%!PS-Adobe", "unsupported_format"),
        (b"<svg xmlns='x'/>", "unsupported_format"),
        (encoded(photo(), "BMP"), "unsupported_format"),
        (encoded(photo(), "WEBP"), "unsupported_format"),
    ],
    ids=["empty", "html", "pdf", "postscript", "svg", "bmp", "webp"],
)
def test_other_bytes_are_refused_by_name(content, reason):
    assert reason_of(content) == reason


def test_sixteen_bits_are_scaled_not_clipped():
    values_HW = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    grey = np.asarray(as_rgb(Image.fromarray(values_HW)))[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert abs(float(grey.mean()) - 127.5) < 1


def test_transparency_is_shown_on_white():
    assert as_rgb(Image.new("RGBA", (40, 40), (255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_perceptual_hash_survives_reencoding_and_scaling():
    original = perceptual_hash(photo(side=256))
    smaller = open_image(encoded(photo(side=256).resize((100, 100)), "JPEG", quality=60))
    assert hamming_distance(original, perceptual_hash(smaller)) <= 6


def test_perceptual_hash_tells_images_apart():
    turned = photo(side=256).rotate(90)
    assert hamming_distance(perceptual_hash(photo(side=256)), perceptual_hash(turned)) > 12


def test_equal_bytes_have_equal_fingerprints():
    assert read_facts(encoded(photo(), "PNG")) == read_facts(encoded(photo(), "PNG"))
