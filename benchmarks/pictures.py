"""Images and texts to measure with: a folder of real ones, or synthetic figures of about 190 kB (larger than PMC's)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from biomedica_kedro.shards.samples import Sample

WORDS = ("cell", "tumor", "section", "stained", "arrow", "scale", "bar", "patient", "control", "mean", "expression")


def load_images(folder: Path | None, count: int, seed: int = 0) -> list[bytes]:
    """Give `count` JPEG files, those of a folder over and over, or synthetic ones."""
    if folder is None:
        distinct = [synthetic_figure(np.random.default_rng([seed, index])) for index in range(min(count, 300))]
    else:
        distinct = [path.read_bytes() for path in sorted(folder.rglob("*.jp*g"))]
    return [distinct[index % len(distinct)] for index in range(count)]


def synthetic_figure(random: np.random.Generator) -> bytes:
    """A smooth texture with noise, lines and text: 600 to 1,200 pixels a side."""
    width, height = (int(side) for side in random.integers(600, 1200, 2))
    coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    picture = Image.fromarray(noisy)
    draw = ImageDraw.Draw(picture)
    for _ in range(30):
        line = [(int(x), int(y)) for x, y in random.integers(0, min(width, height), (2, 2))]
        draw.line(line, fill=tuple(int(c) for c in random.integers(0, 256, 3)), width=3)
        draw.text(line[0], " ".join(random.choice(WORDS, 3)), fill="black")
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=int(random.integers(80, 91)))
    return file.getvalue()


def text(random: np.random.Generator, n_words: int) -> str:
    """Words in random order."""
    return " ".join(random.choice(WORDS, n_words))


def make_samples(images: list[bytes], article_words: int = 4000) -> list[Sample]:
    """Samples with a caption of 80 words and a record that holds an article's text (about 25 kB)."""
    random = np.random.default_rng(1)
    articles = [text(random, article_words) for _ in range(50)]
    return [
        Sample(
            f"PMC{index}_1-F1-0", image, "jpg", text(random, 80),
            {"schema_version": 1, "image_size": [1, 1], "article_text": articles[index % 50]},
        )
        for index, image in enumerate(images)
    ]  # fmt: skip
