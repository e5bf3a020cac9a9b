"""What the training loop costs on top of a bare open_clip step: forward, loss, backward, optimizer.

    python benchmarks/training_step.py [--threads 1] [--rounds 12]

Both arms compute the same batch with the same model; the loop's arm adds learning rate, gradient norm and clipping,
scale clamp, history and log. Interleaved, CPU seconds, with the bare step against itself as the null row.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from open_clip.loss import ClipLoss
from report import machine, write_result

from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.clip.config import OptimizerOptions, TrainOptions
from biomedica_kedro.clip.feed import Batch, Feed, Places
from biomedica_kedro.clip.images import Geometry, normalize
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.train import Trainer, _Meter

STEPS_A_ROUND = 4


def main() -> None:
    """Measure and write benchmarks/results/training_step.md."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--rounds", type=int, default=12)
    arguments.add_argument("--architecture", default="biomedica-tiny")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        bare, loop = arms(given.architecture, Path(scratch))
        seconds = interleave({"bare": bare, "bare again": bare, "loop": loop}, given.rounds)
    ratios = {name: [b / a for a, b in zip(seconds["bare"], values, strict=True)] for name, values in seconds.items()}
    rows = []
    for name, values in seconds.items():
        low, middle, high = np.quantile(ratios[name], [0.1, 0.5, 0.9])
        milliseconds = f"{statistics.median(values) * 1000:.0f}"
        ratio = f"{middle:.3f} [{low:.3f}, {high:.3f}]"
        rows.append({"arm": name, "CPU ms a step, median": milliseconds, "ratio to bare, median [p10, p90]": ratio})
    described = (
        f"`python benchmarks/training_step.py --rounds {given.rounds}`, {machine()}, torch {torch.__version__}; "
        f"{given.architecture}, batch 64, {given.threads} thread; {given.rounds} interleaved rounds of "
        f"{STEPS_A_ROUND} steps."
    )
    write_result("training_step", "The training loop beside a bare step of open_clip", described, rows)


def arms(architecture: str, scratch: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """The bare step and the loop's step, on one batch and one model."""
    nowhere = Places([], *(np.zeros(0, np.int64),) * 3, np.zeros(0, np.float32))
    options = TrainOptions(steps=10_000, optimizer=OptimizerOptions())
    log = MemoryLog()
    trainer = Trainer(
        base=BaseModel(architecture), options=options, training=nowhere, validation=nowhere, scratch=scratch, log=log
    )
    from biomedica_kedro.clip.checkpoints import config_of

    config = config_of(trainer.base, options.model)
    geometry = Geometry.of(config["preprocess_cfg"])
    size, length = geometry.size, config["model_cfg"]["text_cfg"].get("context_length", 77)
    images = torch.randint(0, 256, (64, 3, size, size), dtype=torch.uint8)
    tokens = torch.randint(1, 49_000, (64, length))
    batch = Batch(images, tokens, [])
    model = trainer._model(config)
    towers = trainer._towers(model)
    parts = trainer._parts(model)
    meter = _Meter(Feed(loader=None), 64, 1.0)
    loss, step = ClipLoss(), iter(range(10_000))

    def bare() -> None:
        parts.optimizer.zero_grad(set_to_none=True)
        pixels = normalize(images, geometry)
        features = parts.model.encode_image(pixels, normalize=True), parts.model.encode_text(tokens, normalize=True)
        loss(*features, parts.model.logit_scale.exp()).backward()
        parts.optimizer.step()

    def loop() -> None:
        row = {**trainer._step(next(step), batch, towers, parts, geometry), "epoch": 0}
        trainer._report(row, meter)

    return bare, loop


def interleave(arms: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds a step of each arm, the order rotated from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for name in names:
        arms[name]()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.process_time()
            for _ in range(STEPS_A_ROUND):
                arms[name]()
            seconds[name].append((time.process_time() - started) / STEPS_A_ROUND)
    return seconds


if __name__ == "__main__":
    main()
