"""Measures `feed.decode: scaled`: how far its squares are from those of exact decoding, and what it saves.

    python benchmarks/scaled_decoding.py [--images FOLDER] [--samples 60] [--rounds 3]

Every JPEG is decoded fully and resized to 224 px, and decoded with libjpeg's halving and resized. PSNR of the uint8
squares is told of the images that are halved at all; CPU seconds are of decoding and resizing, on one thread. What a
model loses that is trained on such squares is not measured here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from pictures import load_images
from report import machine, write_result

from biomedica_kedro.clip.images import Geometry, decode, to_square

SIZE = 224


def squares(images: list[bytes], geometry: Geometry, at_least: int | None) -> tuple[list[np.ndarray], float]:
    """The squares, and CPU seconds they took."""
    started = time.process_time()
    found = [to_square(decode(image, at_least=at_least), geometry).numpy() for image in images]
    return found, time.process_time() - started


def psnr(exact: np.ndarray, scaled: np.ndarray) -> float:
    """In dB; infinite where nothing differs."""
    error = np.mean((exact.astype(float) - scaled.astype(float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def main() -> None:
    """Measure and write benchmarks/results/scaled_decoding.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path, help="folder of JPEG files; synthetic ones otherwise")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = load_images(options.images, options.samples)
    rows = []
    for mode in ("shortest", "longest"):
        geometry = Geometry.of(vars(PreprocessCfg(size=SIZE, resize_mode=mode)))
        exact, _ = squares(images, geometry, None)
        scaled, _ = squares(images, geometry, SIZE)
        decibels = [value for pair in zip(exact, scaled, strict=True) if np.isfinite(value := psnr(*pair))]
        seconds = [[squares(images, geometry, at_least)[1] for at_least in (None, SIZE)] for _ in range(options.rounds)]
        ratios = [slow / fast for slow, fast in seconds]
        rows.append(
            {
                "resize": mode, "halved": f"{len(decibels)} of {len(images)}",
                "PSNR p5, dB": f"{np.percentile(decibels, 5):.1f}", "PSNR mean, dB": f"{np.mean(decibels):.1f}",
                "less CPU by": f"{np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
            }
        )  # fmt: skip
    kind = "synthetic " if options.images is None else ""
    described = f"`python benchmarks/scaled_decoding.py`, {machine()}; {len(images)} {kind}JPEG files to {SIZE} px."
    write_result("scaled_decoding", "Halving JPEGs while they are decoded", described, rows)


if __name__ == "__main__":
    main()
