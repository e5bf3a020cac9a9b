import io

import pytest
from PIL import Image

from biomedica_kedro.shards.resize import decode_image, resize_image


def encoded(mode="RGB", size=(1600, 900), image_format="JPEG"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, image_format)
    return file.getvalue()


def test_draft_mode_is_not_smaller_than_asked():
    assert decode_image(encoded(), None).size == (1600, 900)
    small = decode_image(encoded(), 224)
    assert (small.size, small.getpixel((0, 0))) == ((400, 225), (0, 0, 0))


@pytest.mark.parametrize(("mode", "image_format"), [("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("I;16", "TIFF")])
def test_any_mode_becomes_a_small_rgb_jpeg(mode, image_format):
    image = resize_image(encoded(mode, image_format=image_format), 224, 92)
    with Image.open(io.BytesIO(image)) as opened:
        assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (398, 224))


@pytest.mark.parametrize("image", [encoded(size=(100, 200)), b"not an image"], ids=["small", "broken"])
def test_images_that_cannot_shrink_have_no_smaller_copy(image):
    assert resize_image(image, 224, 92) is None
