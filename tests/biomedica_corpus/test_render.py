from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from biomedica_corpus.brain import BrainMri
from biomedica_corpus.charts import BarPlot
from biomedica_corpus.render import compose, encode


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "gif"])
def test_equal_pictures_have_equal_bytes(extension: str) -> None:
    picture = BrainMri.sample(np.random.default_rng(0)).paint(np.random.default_rng(0), 61, 61)
    encoded = set()
    for size in range(1, 40):
        bytearray(b"x" * 997 * size)  # other bytes in the memory that is handed out next
        encoded.add(encode(picture, f"a.b.{extension}"))
    assert len(encoded) == 1
    assert Image.open(io.BytesIO(encoded.pop())).size == (61, 61)


def test_tiff_is_not_compressed() -> None:
    # Compressed by libtiff, two writes of the default corpus differed in one padding byte of some files.
    image = Image.open(io.BytesIO(encode(Image.new("RGB", (9, 9)), "x.tif")))
    assert image.info["compression"] == "raw"


@pytest.mark.parametrize(("count", "cells"), [(2, 2), (3, 3), (4, 4)])
def test_composed_figures_show_every_panel(count: int, cells: int) -> None:
    streams = [np.random.default_rng(i) for i in range(count)]
    page = np.asarray(compose([BarPlot.sample(rng) for rng in streams], streams, 60, letters="ABCD")).astype(float)
    assert page.shape[0] * page.shape[1] >= cells * 60 * 60
    assert (page.min(axis=2) < 100).mean() > 0.02
