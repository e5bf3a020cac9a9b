"""Smaller images: copies for the training profile, and fast decoding to a needed size.

The archive and the other profiles keep the published bytes.
"""

from __future__ import annotations

import io
import logging

from PIL import Image

from biomedica_kedro.images.decode import ANY_SIZE, as_rgb, open_image
from biomedica_kedro.records import DataError

logger = logging.getLogger(__name__)


def resize_image(image: bytes, edge: int, quality: int) -> bytes | None:
    """Shrink an image until its shorter edge is `edge` pixels.

    Args:
        image: an image file's bytes.
        edge: wanted shorter edge.
        quality: JPEG quality of the copy.
    Returns:
        A JPEG in RGB; None for images that are smaller, or that cannot be read.
    """
    try:
        opened = open_image(image)
    except DataError as error:
        logger.warning("kept an image of %d bytes at its size: it cannot be resized (%s)", len(image), error)
        return None
    if min(opened.size) <= edge:
        return None
    scale = edge / min(opened.size)
    size = (round(opened.width * scale), round(opened.height * scale))
    resized = as_rgb(opened).resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    resized.save(file, "JPEG", quality=quality)
    return file.getvalue()


def decode_image(image: bytes, edge: int | None = None) -> Image.Image:
    """Decode an image to RGB.

    Args:
        image: an image file's bytes.
        edge: wanted shorter edge in pixels. A JPEG is then decoded at the smallest size that is not below it (draft
            mode: fast, but not the pixels of decoding fully and resizing); other formats are decoded fully.
    """
    return as_rgb(open_image(image, ANY_SIZE, edge=edge))
