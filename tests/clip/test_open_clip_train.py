"""The first losses of a training are those of open_clip_train on the same weights, samples and settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.feed import Places
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.order import SampleOrder
from biomedica_kedro.clip.train import Trainer
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard
from tests.clip.small_corpus import COLORS, jpeg, small_vit

RUNNER = Path(__file__).parents[2] / "benchmarks" / "peers" / "losses.py"
STEPS, BATCH = 4, 8
PLAIN = TrainOptions(
    steps=STEPS, batch_size=BATCH, threads=1, optimizer=OptimizerOptions(warmup_steps=2, weight_decay=0)
)


def test_first_losses_are_those_of_open_clip_train(tmp_path):
    base = BaseModel(small_vit(tmp_path).architecture, str(tmp_path / "start.safetensors"))
    torch.manual_seed(0)
    save_model(tmp_path / "start.safetensors", create(config_of(small_vit(tmp_path), ModelOptions())).state_dict())
    samples = [
        Sample(f"s{index:03d}", jpeg(list(COLORS.values())[index % 4], index, (32, 32)), "jpg", f"sample {index}", {})
        for index in range(STEPS * BATCH)
    ]

    ours = our_losses(tmp_path, base, samples)
    order = SampleOrder(np.ones(len(samples), np.float32), BATCH, PLAIN.seed)
    drawn = [samples[draw.index] for draws in order.batches(0, STEPS) for draw in draws]
    theirs = their_losses(tmp_path, base, drawn)

    assert ours == pytest.approx(theirs, rel=1e-5)


def our_losses(folder: Path, base: BaseModel, samples: list[Sample]) -> list[float]:
    places = write_shard(folder / "ours.tar", samples)
    offset, n_bytes = (np.array([getattr(place, name) for place in places]) for name in ("offset", "n_bytes"))
    ones = np.ones(len(samples), np.float32)
    training = Places([folder / "ours.tar"], np.zeros(len(samples), np.int32), offset, n_bytes, ones)
    job = Trainer(base=base, options=PLAIN, training=training, validation=training, scratch=folder, log=MemoryLog())
    return [row["loss"] for row in job.run().history]


def their_losses(folder: Path, base: BaseModel, samples: list[Sample]) -> list[float]:
    write_shard(folder / "theirs.tar", samples)
    settings = (
        f"--model small-vit --pretrained {base.weights} --train-data given --logs {folder}/logs --name oracle "
        f"--batch-size {BATCH} --workers 0 --epochs 1 --warmup 2 --lr 1e-3 --beta1 0.9 --beta2 0.98 --eps 1e-6 --wd 0 "
        "--grad-clip-norm 1 --precision fp32 --save-frequency 0"
    )
    command = [sys.executable, "-P", RUNNER, base.architecture, folder / "theirs.tar", len(samples), folder / "l.json"]
    # The project makes webdataset refuse local files; open_clip_train reads by no other way.
    environment = {name: value for name, value in os.environ.items() if name != "WDS_SECURE"}
    subprocess.run(
        [*map(str, command), "--", *settings.split()], check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    return json.loads((folder / "l.json").read_text())
