"""Untrusted image bytes: limits, damage, modes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from imagecodecs import png_decode
from PIL import Image, ImageCms

from biomedica_kedro.images import decode
from biomedica_kedro.images.decode import ImageLimits, as_rgb, open_image, read_pixels
from biomedica_kedro.images.fingerprints import hamming_distance, perceptual_hash, read_facts
from biomedica_kedro.records import DataError, RejectReason


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(mode: str = "RGB", side: int = 128) -> Image.Image:
    waves_HW = np.sin(np.linspace(0, 9, side))[:, None] * np.cos(np.linspace(0, 5, side))[None, :]
    return Image.fromarray(((waves_HW + 1) * 127).astype(np.uint8)).convert("RGB").convert(mode)


def lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")


def turned(image: Image.Image, orientation: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif)


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
        ("TIFF", "LAB", "tif"), ("WEBP", "RGB", "webp"), ("JPEG2000", "RGB", "jp2"),
        ("AVIF", "RGB", "avif"), ("BMP", "RGB", "bmp"), ("MPO", "RGB", "jpg"),
    ],
)  # fmt: skip
def test_every_mode_is_kept_and_described(kind, mode, extension):
    image = photo("L").convert("I").convert(mode) if mode == "I;16" else photo(mode) if mode != "LAB" else lab(photo())
    content = encoded(image, kind)
    facts = read_facts(content)
    assert (facts.mode, facts.format, facts.width, facts.height) == (mode, extension, 128, 128)
    assert facts.n_bytes == len(content)
    assert as_rgb(open_image(content)).mode == "RGB"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP"])
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
        (b"RIFF\x10\0\0\0AVI LIST", "unsupported_format"),
    ],
    ids=["empty", "html", "pdf", "postscript", "svg", "avi"],
)
def test_other_bytes_are_refused_by_name(content, reason):
    assert reason_of(content) == reason


def test_sixteen_bits_are_scaled_not_clipped():
    values_HW = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    grey = np.asarray(as_rgb(Image.fromarray(values_HW)))[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert abs(float(grey.mean()) - 127.5) < 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "1"])
def test_transparency_is_shown_on_white(mode):
    image = Image.new("RGB", (40, 40), "black").convert(mode)
    if mode.endswith("A"):
        image.putalpha(0)
    options = {"P": {"transparency": image.getpixel((0, 0))}, "RGB": {"transparency": (0, 0, 0)}}
    content = encoded(image, "PNG", **options.get(mode, {} if mode.endswith("A") else {"transparency": 0}))
    assert read_pixels(content).min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 5])
def test_images_stand_upright(kind, orientation):
    scene = photo().crop((0, 0, 96, 64))
    scene.paste("white", (0, 0, 20, 20))
    facts = read_facts(turned(scene, orientation, kind))
    assert (facts.width, facts.height) == ((64, 96) if orientation in (5, 6, 8) else (96, 64))
    turn = {3: (2, False), 6: (3, False), 8: (1, False), 5: (3, True)}.get(orientation, (0, False))
    expected = np.rot90(np.asarray(scene, float), turn[0])
    expected = expected[:, ::-1] if turn[1] else expected
    assert np.abs(read_pixels(turned(scene, orientation, kind)) - expected).mean() < 6


def test_first_picture_of_several_is_taken():
    first, second = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 40), "blue")
    for kind in ("GIF", "TIFF", "WEBP", "MPO"):
        red, _, blue = read_pixels(encoded(first, kind, save_all=True, append_images=[second]))[20, 20]
        assert (red > 200, blue < 60) == (True, True), kind


def test_values_that_are_no_numbers_do_not_hide_the_others():
    values_HW = np.linspace(-3, 5, 64 * 64, dtype=np.float32).reshape(64, 64)
    values_HW[0, :3] = np.nan, np.inf, -np.inf
    grey = np.asarray(as_rgb(Image.fromarray(values_HW)))[..., 0]
    assert grey[0, :3].tolist() == [0, 255, 0]
    assert abs(float(grey.mean()) - 127) < 2


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_has_the_pixels_pillow_sees(mode):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)).resize((61, 47))
    content = encoded(smooth.convert(mode), "JPEG")
    assert np.array_equal(read_pixels(content), np.array(Image.open(BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize("limits", [{"max_bytes": 100}, {"max_pixels": 100}, {"min_side": 200}])
def test_limits_hold_on_the_fast_way_too(limits):
    content = encoded(photo(), "JPEG")
    with pytest.raises(DataError) as fast:
        read_pixels(content, ImageLimits(**limits))
    assert fast.value.reason is reason_of(content, **limits)


JPEGS = {
    "baseline": encoded(photo(), "JPEG"),
    "gray": encoded(photo("L"), "JPEG"),
    "rgb": encoded(photo(), "JPEG", keep_rgb=True),
    "restarts": encoded(photo(), "JPEG", restart_marker_blocks=4),
    "exif": turned(photo(), 1),
    "progressive": encoded(photo(), "JPEG", progressive=True),
}


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
def test_damaged_jpeg_gives_what_pillow_says_on_the_fast_way_too(content: bytes):
    """Ended early, with a byte changed, and with bytes lost in between."""
    rng = np.random.default_rng(0)
    for number in range(60):
        at = int(rng.integers(4, len(content) - 2))
        changed = bytes([content[at] ^ int(rng.integers(1, 256))])
        damaged = content[:at] + (b"", changed + content[at + 1 :], content[at + 9 :])[number % 3]
        assert outcome(read_pixels, damaged) == outcome(lambda given: np.array(as_rgb(open_image(given))), damaged)


def test_jpeg_cut_after_its_preview_is_corrupt():
    """The preview in its head has an end of its own."""
    preview, whole = encoded(photo(side=32), "JPEG"), JPEGS["baseline"]
    content = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + whole[2:]
    np.testing.assert_array_equal(read_pixels(content), read_pixels(whole))
    with pytest.raises(DataError, match="corrupt_image"):
        read_pixels(content[:-400])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """The file with one more chunk after its header."""
    return png[:33] + chunk(kind, content) + png[33:]


PLAIN_PNG = encoded(photo(), "PNG")


@pytest.fixture
def fast_pngs(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What libpng was asked to decode."""
    asked: list[bytes] = []
    monkeypatch.setattr(decode, "png_decode", lambda content: (asked.append(content), png_decode(content))[1])
    return asked


@pytest.mark.parametrize(
    "content",
    [
        PLAIN_PNG,
        with_chunk(PLAIN_PNG, b"gAMA", struct.pack(">I", 45455)),
        with_chunk(PLAIN_PNG, b"tEXt", b"Software\0x"),
    ],
    ids=["plain", "gamma", "text"],
)
def test_plain_png_has_the_pixels_pillow_sees(content: bytes, fast_pngs: list[bytes]):
    np.testing.assert_array_equal(read_pixels(content), np.asarray(as_rgb(open_image(content))))
    assert fast_pngs == [content]


@pytest.mark.parametrize(
    "content",
    [
        with_chunk(PLAIN_PNG, b"tRNS", bytes(6)), turned(photo(), 6, "PNG"), encoded(photo("L"), "PNG"),
        encoded(photo("P"), "PNG"), encoded(photo("RGBA"), "PNG"),
        with_chunk(PLAIN_PNG, b"tEXt", b"Raw profile type exif\0\nexif\n       0\n"), PLAIN_PNG[:-12],
    ],
    ids=["transparent color", "turned", "gray", "palette", "alpha", "exif in text", "no end"],
)  # fmt: skip
def test_other_png_is_left_to_pillow(content: bytes, fast_pngs: list[bytes]):
    np.testing.assert_array_equal(read_pixels(content), np.asarray(as_rgb(open_image(content))))
    assert not fast_pngs


@pytest.mark.parametrize("seed", range(4))
def test_damaged_png_gives_what_pillow_says_on_the_fast_way_too(seed: int):
    """Bytes changed anywhere, and within the compressed rows under a right check sum."""
    rng = np.random.default_rng(seed)
    stream = bytearray(PLAIN_PNG[41:-16])  # all of the only IDAT
    for damaged in (bytearray(PLAIN_PNG), stream):
        damaged[rng.integers(8, len(damaged))] ^= 1 << rng.integers(8)
        content = bytes(damaged) if damaged is not stream else PLAIN_PNG[:33] + chunk(b"IDAT", stream) + PLAIN_PNG[-12:]
        assert outcome(read_pixels, content) == outcome(lambda given: np.asarray(as_rgb(open_image(given))), content)


def outcome(read: Callable[[bytes], np.ndarray], content: bytes) -> bytes | RejectReason:
    try:
        return read(content).tobytes()
    except DataError as error:
        return error.reason


@pytest.mark.parametrize("limits", [{"max_bytes": 100}, {"max_pixels": 100}, {"min_side": 200}])
def test_limits_hold_for_plain_png_before_it_is_decoded(limits: dict[str, int], fast_pngs: list[bytes]):
    with pytest.raises(DataError) as raised:
        read_pixels(PLAIN_PNG, ImageLimits(**limits))
    assert raised.value.reason is reason_of(PLAIN_PNG, **limits)
    assert not fast_pngs


def test_perceptual_hash_survives_reencoding_and_scaling():
    original = perceptual_hash(photo(side=256))
    smaller = open_image(encoded(photo(side=256).resize((100, 100)), "JPEG", quality=60))
    assert hamming_distance(original, perceptual_hash(smaller)) <= 6


def test_perceptual_hash_tells_images_apart():
    turned = photo(side=256).rotate(90)
    assert hamming_distance(perceptual_hash(photo(side=256)), perceptual_hash(turned)) > 12


def test_equal_bytes_have_equal_fingerprints():
    assert read_facts(encoded(photo(), "PNG")) == read_facts(encoded(photo(), "PNG"))
