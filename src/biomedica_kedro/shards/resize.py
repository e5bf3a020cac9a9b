"""Smaller copies of images for the training profile; the archive and the other profiles keep the published bytes."""

from __future__ import annotations

import io
import logging

from PIL import Image

logger = logging.getLogger(__name__)


def resize_image(image: bytes, extension: str, edge: int | None, quality: int) -> tuple[bytes, str]:
    """Shrink an image until its shorter edge is `edge` pixels.

    Args:
        image: an image file's bytes.
        extension: its file extension.
        edge: wanted shorter edge; None changes nothing.
        quality: JPEG quality of the copy.
    Returns:
        The bytes and their file extension; images that are smaller, or that Pillow cannot read, as they are.
    """
    if edge is None:
        return image, extension
    try:
        with Image.open(io.BytesIO(image)) as opened:
            if min(opened.size) <= edge:
                return image, extension
            scale = edge / min(opened.size)
            size = (round(opened.width * scale), round(opened.height * scale))
            resized = opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        logger.warning("kept an image of %d bytes at its size: it cannot be resized (%s)", len(image), error)
        return image, extension
    file = io.BytesIO()
    resized.save(file, "JPEG", quality=quality)
    return file.getvalue(), "jpg"
