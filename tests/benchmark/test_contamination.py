from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image, ImageFilter

from biomedica_kedro.benchmark.contamination import (
    SAME_BYTES,
    SAME_PICTURE,
    ContaminationOptions,
    find_copies,
    gray_entropy,
)
from biomedica_kedro.images.fingerprints import perceptual_hash


def _picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return (
        Image.fromarray(noise)
        .filter(ImageFilter.GaussianBlur(4))
        .point(lambda v: max(0, min(255, (v - 128) * 5 + 128)))
    )


def _blank(seed: int) -> Image.Image:
    gray = np.full((96, 96), 240, np.uint8) + np.random.default_rng(seed).integers(0, 2, (96, 96)).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def _bytes(image: Image.Image, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, **{"format": "PNG", **options})
    return sink.getvalue()


def _table(images: dict[str, bytes], name: str) -> pa.Table:
    opened = {key: Image.open(io.BytesIO(content)).convert("RGB") for key, content in images.items()}
    return pa.table(
        {
            name: list(images), "sha256": [hashlib.sha256(content).hexdigest() for content in images.values()],
            "phash": [perceptual_hash(image) for image in opened.values()],
            "entropy": [gray_entropy(image) for image in opened.values()],
        }
    )  # fmt: skip


def test_planted_copies_are_found_and_strangers_are_not() -> None:
    training = {f"t{seed}": _bytes(_picture(seed)) for seed in range(200)}
    benchmark = {
        "same": training["t3"],
        "reencoded": _bytes(_picture(7), format="JPEG", quality=70),
        "resized": _bytes(_picture(9).resize((64, 64))),
        **{f"stranger{seed}": _bytes(_picture(seed)) for seed in range(1000, 1100)},
    }
    found = find_copies("x", _table(benchmark, "sample_id"), _table(training, "key"), ContaminationOptions())
    assert {(row["sample_id"], row["training_key"], row["evidence"]) for row in found} == {
        ("same", "t3", SAME_BYTES), ("reencoded", "t7", SAME_PICTURE), ("resized", "t9", SAME_PICTURE),
    }  # fmt: skip


def test_nearly_blank_pictures_raise_no_false_alarm() -> None:
    training = {f"t{seed}": _bytes(_blank(seed)) for seed in range(100)}
    benchmark = {f"b{seed}": _bytes(_blank(seed)) for seed in range(1000, 1100)}
    assert find_copies("x", _table(benchmark, "sample_id"), _table(training, "key"), ContaminationOptions()) == []


def test_nothing_trained_on_means_no_copies() -> None:
    empty = _table({}, "key").cast(
        pa.schema([("key", "string"), ("sha256", "string"), ("phash", "string"), ("entropy", "float64")])
    )
    assert find_copies("x", _table({"a": _bytes(_picture(0))}, "sample_id"), empty, ContaminationOptions()) == []
