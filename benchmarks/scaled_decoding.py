"""Measures `feed.decode: scaled`: how far its squares are from those of exact decoding, and what it saves.

    python benchmarks/scaled_decoding.py [--images FOLDER] [--samples 60] [--rounds 3]
    python benchmarks/scaled_decoding.py --trained data [--seeds 0 1]

Every JPEG is decoded fully and resized to 224 px, and decoded with libjpeg's halving and resized. PSNR of the uint8
squares is told of the images that are halved at all; CPU seconds are of decoding and resizing, on one thread.

With `--trained`, the embedded model is trained both ways from the same shards, those of a finished run's data root, and
measured on the embedded zero-shot tasks and retrieval: what decoding so costs or gains a model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from pictures import load_images
from report import machine, write_result

from biomedica_kedro.clip.images import Geometry, decode, to_square
from biomedica_kedro.stages import BatchFolder

PROJECT = Path(__file__).resolve().parents[1]
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


def scores(data: Path, seed: int, decode_mode: str) -> dict[str, float]:
    """Train and measure in a copy of a data root; values by task and metric."""
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        copy = Path(folder) / "data"
        shutil.copytree(data, copy, copy_function=os.link, symlinks=True, ignore=shutil.ignore_patterns("mlflow*"))
        given = {"data_root": copy, "modeling.train_clip.seed": seed, "modeling.train_clip.feed.decode": decode_mode}
        parameters = ",".join(f"{name}={value}" for name, value in given.items())
        kedro = Path(sys.executable).with_name("kedro")
        command = [kedro, "run", "--pipelines=modeling,evaluation", f"--params={parameters}"]
        subprocess.run(command, cwd=PROJECT, env={**os.environ, "BIOMEDICA_TRACKING_OFF": "1"}, check=True)
        rows = BatchFolder(copy / "07_model_output" / "benchmark_scores").table().to_pylist()
    return {f"{row['task']}, {row['metric']}": row["value"] for row in rows if is_told(row)}


def is_told(row: dict[str, object]) -> bool:
    """Whether a score is one of the trained model's that the table shows."""
    is_of_model = row["model_id"] == "biomedica-clip" and not row["detail"] and str(row["task"]).startswith("embedded_")
    shown = {"zero_shot": ("median_class_recall",), "retrieval": ("i2t_R_at_1", "i2t_R_at_10")}
    return is_of_model and row["metric"] in shown.get(str(row["protocol"]), ())


def compare_trainings(data: Path, seeds: list[int]) -> None:
    """Write benchmarks/results/scaled_training.{md,json}."""
    found = {mode: [scores(data, seed, mode) for seed in seeds] for mode in ("exact", "scaled")}
    rows = [
        {"score": name, **{mode: ", ".join(f"{one[name]:.3f}" for one in runs) for mode, runs in found.items()}}
        for name in found["exact"][0]
    ]
    described = (
        f"`python benchmarks/scaled_decoding.py --trained data --seeds {' '.join(map(str, seeds))}`, {machine()}; the "
        "embedded training, one value a seed; nine tenths of its images are JPEG files of two to four times 64 px."
    )
    write_result("scaled_training", "Trained on exactly decoded and on halved JPEGs", described, rows)


def main() -> None:
    """Measure and write benchmarks/results/scaled_decoding.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path, help="folder of JPEG files; synthetic ones otherwise")
    parser.add_argument("--trained", type=Path, help="data root of a finished run; its results stay as they are")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    if options.trained:
        compare_trainings(options.trained.absolute(), options.seeds)
        return
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
