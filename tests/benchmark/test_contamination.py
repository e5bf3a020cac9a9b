from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from biomedica_kedro.benchmark.contamination import (
    SAME_BYTES,
    SAME_PICTURE,
    TURNED_PICTURE,
    ContaminationOptions,
    find_copies,
)
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.labels.encoders import DescriptorEncoder
from tests.benchmark.samples_factory import write_samples
from tests.benchmark.training_factory import write_training

BY_VECTOR = ContaminationOptions(min_similarity=0.9)


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


def _slice(position: float) -> Image.Image:
    """A bright head on black with one lesion: slices differ in where the lesion lies."""
    row, column = np.mgrid[:96, :96] / 96 - 0.5
    head = 120.0 * (row**2 + column**2 < 0.2)
    lesion = 80.0 * ((row - 0.2 * np.sin(position)) ** 2 + (column - 0.2 * np.cos(position)) ** 2 < 0.01)
    return Image.fromarray((head + lesion).astype(np.uint8)).convert("RGB")


def _bytes(image: Image.Image, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, **{"format": "PNG", **options})
    return sink.getvalue()


def _samples(folder: Path, images: Mapping[str, bytes]) -> TaskSamples:
    rows = [
        {"sample_id": name, "image": content, "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in images.items()
    ]
    return TaskSamples(write_samples(folder, "x", rows))


def _found(folder: Path, benchmark: Mapping[str, bytes], training: Mapping[str, bytes], **given: object) -> set:
    known = write_training(folder / "training", training)
    rows = find_copies("x", _samples(folder, benchmark), known, **{"options": ContaminationOptions(), **given})
    return {(row["sample_id"], row["training_key"], row["evidence"]) for row in rows}


def test_planted_copies_are_found_and_strangers_are_not(tmp_path: Path) -> None:
    training = {f"t{seed}": _bytes(_picture(seed)) for seed in range(200)}
    benchmark = {
        "same": training["t3"],
        "reencoded": _bytes(_picture(7), format="JPEG", quality=70),
        "resized": _bytes(_picture(9).resize((64, 64))),
        "brighter": _bytes(_picture(11).point(lambda v: 40 + v * 0.8)),
        "not an image": b"text",
        **{f"stranger{seed}": _bytes(_picture(seed)) for seed in range(1000, 1100)},
    }
    assert _found(tmp_path, benchmark, training) == {
        ("same", "t3", SAME_BYTES), ("reencoded", "t7", SAME_PICTURE), ("resized", "t9", SAME_PICTURE),
        ("brighter", "t11", SAME_PICTURE),
    }  # fmt: skip


def test_vectors_find_a_turned_copy_that_hashes_miss(tmp_path: Path) -> None:
    training = {f"t{seed}": _bytes(_picture(seed)) for seed in range(20)}
    benchmark = {"mirrored": _bytes(ImageOps.mirror(_picture(4))), "turned": _bytes(_picture(5).rotate(90))}
    assert _found(tmp_path / "hashes", benchmark, training) == set()
    options = {"options": BY_VECTOR, "encode": DescriptorEncoder().encode}
    assert _found(tmp_path / "vectors", benchmark, training, **options) == {
        ("mirrored", "t4", TURNED_PICTURE), ("turned", "t5", TURNED_PICTURE),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("training", "benchmark"),
    [
        ([_blank(seed) for seed in range(100)], [_blank(seed) for seed in range(1000, 1100)]),
        ([_slice(at * np.pi / 4) for at in range(8)], [_slice((at + 0.5) * np.pi / 4) for at in range(8)]),
    ],
    ids=["nearly blank", "slices of a scan"],
)
def test_pictures_that_look_alike_raise_no_false_alarm(
    training: list[Image.Image], benchmark: list[Image.Image], tmp_path: Path
) -> None:
    known, asked = (
        {f"{prefix}{at}": _bytes(image) for at, image in enumerate(images)}
        for prefix, images in (("t", training), ("b", benchmark))
    )
    assert _found(tmp_path, asked, known, options=BY_VECTOR, encode=DescriptorEncoder().encode) == set()


def test_held_out_images_are_not_trained_on(tmp_path: Path) -> None:
    content = _bytes(_picture(0))
    training = write_training(tmp_path / "training", {"a": content}, held_out=frozenset({"a"}))
    assert find_copies("x", _samples(tmp_path, {"a": content}), training, ContaminationOptions()) == []
