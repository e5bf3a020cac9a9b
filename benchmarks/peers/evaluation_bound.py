"""What no evaluation of a task can do without, for evaluation.py: unpacking the images and the model's step on them.

    PYTHON evaluation_bound.py FOLDER

Prints a line of JSON with CPU milliseconds an image on one thread, each the least of three passes: `unpacking` inflates
a PNG's rows by libdeflate, which is the fastest inflate at hand, or decodes a JPEG at an eighth of its size, which is
little more than its entropy coding; `decoding` is our whole decoding, `preparing` the resize, `model` the image tower.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import simplejpeg
import torch

from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.clip.checkpoints import load_model
from biomedica_kedro.clip.encoder import OpenClipEncoder
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels

IMAGES, BATCH, PASSES = 80, 40, 3


def main() -> None:
    """Measure on the first images of the task."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    encoder = OpenClipEncoder(*load_model(folder / "model" / "all.safetensors"))
    contents = [row["image"] for rows in TaskSamples(folder / "figures").images() for row in rows][:IMAGES]
    pixels = [read_pixels(content, ANY_SIZE) for content in contents]
    prepared = [encoder.prepare(each) for each in pixels]
    batches = [prepared[at : at + BATCH] for at in range(0, len(prepared), BATCH)]
    is_png = contents[0].startswith(b"\x89PNG")
    packed = [rows_of(content) for content in contents] if is_png else contents
    found = {
        "unpacking": per_image(inflate if is_png else decode_an_eighth, packed),
        "decoding": per_image(lambda content: read_pixels(content, ANY_SIZE), contents),
        "preparing": per_image(encoder.prepare, pixels),
        "model": per_image(encoder.encode_images, batches) * len(batches) / len(prepared),
    }
    print(json.dumps(found))


def per_image(function: Callable[[Any], object], items: Sequence[Any]) -> float:
    """CPU milliseconds an item in the fastest pass."""
    passes = []
    for _ in range(PASSES):
        start = time.process_time()
        for item in items:
            function(item)
        passes.append(time.process_time() - start)
    return 1000 * min(passes) / len(items)


def inflate(packed: tuple[bytes, int]) -> None:
    """Compressed rows of a PNG, whose size is known."""
    imagecodecs.deflate_decode(packed[0], out=packed[1])


def decode_an_eighth(content: bytes) -> None:
    """A JPEG's mean colors of 8 x 8 pixels."""
    height, width, *_ = simplejpeg.decode_jpeg_header(content)
    simplejpeg.decode_jpeg(content, "RGB", min_height=-(-height // 8), min_width=-(-width // 8))


def rows_of(png: bytes) -> tuple[bytes, int]:
    """Compressed rows of an RGB image, and the bytes they hold: a filter's number and three bytes a pixel each."""
    width, height = struct.unpack_from(">II", png, 16)
    at, compressed = 8, []
    while at < len(png):
        n_bytes, kind = struct.unpack_from(">I4s", png, at)
        compressed += [png[at + 8 : at + 8 + n_bytes]] if kind == b"IDAT" else []
        at += 12 + n_bytes
    return b"".join(compressed), (3 * width + 1) * height


if __name__ == "__main__":
    main()
