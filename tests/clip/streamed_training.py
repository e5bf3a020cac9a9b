"""A small training fed by streaming, for `test_streamed`; as a script, one that stops for ever or one of two processes.

python streamed_training.py URL FOLDER stuck|whole [WORKERS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import orjson
import torch

from biomedica_kedro.clip.config import (
    AugmentationOptions,
    CheckpointOptions,
    FeedOptions,
    OptimizerOptions,
    TextSource,
    TrainOptions,
)
from biomedica_kedro.clip.distributed import World, world
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.streamed import open_training
from biomedica_kedro.clip.train import Trainer
from biomedica_kedro.shards.sources import Source, StreamOptions
from tests.clip.small_corpus import small_vit

STEPS, STUCK_AT = 9, 4


def options_of(url: str, workers: int = 0) -> TrainOptions:
    """Nine steps of 16 samples on 4 lanes; every fourth sample is kept for validation."""
    held = "n % 4 = 3"
    return TrainOptions(
        steps=STEPS, batch_size=16, threads=1,
        optimizer=OptimizerOptions(warmup_steps=2),
        augmentation=AugmentationOptions(crop_scale=0.8, text={TextSource.CAPTION: 1, TextSource.SENTENCE: 1}),
        checkpoints=CheckpointOptions(every=3, validate_every=3, validation_samples=20),
        feed=FeedOptions(workers=workers),
        stream=StreamOptions(
            lanes=4, window=5, sources=[Source(url=url, where=f"NOT {held}")], validation=Source(url=url, where=held)
        ),
    )  # fmt: skip


def trainer_of(
    url: str, folder: Path, workers: int = 0, log: MemoryLog | None = None, processes: World | None = None
) -> Trainer:
    """A trainer whose checkpoints lie in a folder."""
    options = options_of(url, workers)
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Trainer(
        base=small_vit(folder), options=options,
        training=open_training(options),
        validation=options.stream.validation, scratch=scratch, log=log or MemoryLog(), world=processes or World(),
    )  # fmt: skip


class StuckLog(MemoryLog):
    """Takes some steps, so that one lies after the checkpoint, then never returns."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Block."""
        if step == STUCK_AT:
            time.sleep(3600)


if __name__ == "__main__":
    place, target, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    n_workers = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    torch.set_num_threads(1)
    with world() as own:
        run_log = StuckLog() if kind == "stuck" else MemoryLog()
        own_folder = target / f"rank{own.rank}" if own.size > 1 else target
        found = trainer_of(place, own_folder, n_workers, run_log, own).run()
        if own.is_main:
            (target / "history.json").write_bytes(orjson.dumps(found.history))
