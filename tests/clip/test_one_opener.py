"""One image has the same pixels wherever it is opened: training, benchmark, annotation, shards."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from biomedica_kedro.benchmark.samples import check_sample
from biomedica_kedro.benchmark.task import load_tasks
from biomedica_kedro.clip.images import decode
from biomedica_kedro.images.decode import as_rgb, open_image, read_pixels
from biomedica_kedro.shards.resize import decode_image

SIDE = 48


def scene(mode: str) -> Image.Image:
    levels_HW = np.add.outer(np.arange(SIDE), np.arange(SIDE) * 3) % 256
    if mode == "I;16":
        return Image.fromarray((levels_HW * 200 + 900).astype(np.uint16))
    if mode == "F":
        return Image.fromarray((levels_HW / 255 - 0.3).astype(np.float32))
    colors_HW3 = np.stack([levels_HW, levels_HW.T, 255 - levels_HW], axis=2).astype(np.uint8)
    image = Image.fromarray(colors_HW3)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray((levels_HW // 2).astype(np.uint8)))
    return image.convert(mode)


def content_of(mode: str, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    scene(mode).save(file, kind, **options)
    return file.getvalue()


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return content_of("RGB", "JPEG", exif=exif)


ODD = {
    "16-bit PNG": content_of("I;16", "PNG"),
    "16-bit TIFF": content_of("I;16", "TIFF"),
    "float TIFF": content_of("F", "TIFF"),
    "transparent PNG": content_of("RGBA", "PNG"),
    "gray with alpha": content_of("LA", "PNG"),
    "palette": content_of("P", "GIF"),
    "palette with transparency": content_of("P", "PNG", transparency=3),
    "CMYK JPEG": content_of("CMYK", "JPEG"),
    "CMYK TIFF": content_of("CMYK", "TIFF"),
    "bilevel": content_of("1", "TIFF"),
    "turned JPEG": turned_jpeg(),
    "plain JPEG": content_of("RGB", "JPEG"),
    "gray JPEG": content_of("L", "JPEG"),
    "progressive JPEG": content_of("RGB", "JPEG", progressive=True, subsampling=0),
    "camera MPO": content_of("RGB", "MPO", save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))]),
    "WebP": content_of("RGBA", "WEBP"),
    "JPEG 2000": content_of("RGB", "JPEG2000"),
    "AVIF": content_of("RGB", "AVIF"),
    "BMP": content_of("RGB", "BMP"),
}


def as_training(content: bytes) -> np.ndarray:
    return decode(content).permute(1, 2, 0).numpy()


def as_benchmark(content: bytes) -> np.ndarray:
    return check_sample({"sample_id": "a", "image": content, "label": 0}, load_tasks([])["embedded_figure_type"]).image


def as_annotation(content: bytes) -> np.ndarray:
    return np.asarray(as_rgb(open_image(content)))


def as_contact_sheet(content: bytes) -> np.ndarray:
    return np.asarray(decode_image(content))


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_every_way_in_gives_the_same_pixels(content):
    expected = read_pixels(content)
    assert expected.shape == (SIDE, SIDE, 3)
    for opener in (as_training, as_benchmark, as_annotation, as_contact_sheet):
        assert np.array_equal(opener(content), expected), opener.__name__
