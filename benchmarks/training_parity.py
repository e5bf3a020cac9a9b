"""Claim: from the same weights, samples and settings, the losses of the first steps are those of open_clip_train 3.3.0.

    python benchmarks/training_parity.py [--peer PYTHON] [--steps 12]

The peer runs in a virtual environment of its own, made by uv unless --peer names the Python of one. Each side reads
the JPEG files from a shard and decodes, resizes and tokenizes by its own means: files of the model's size, where the
pixels are the same, and figures of 600 to 1,200 pixels a side, which the two resize to within rounding (72 dB PSNR).
Weight decay is 0: open_clip_train decays embeddings, which this project does not.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import torch
from pictures import load_images, text
from PIL import Image
from training_feed import PEERS, environment

from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions, Objective, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.feed import Places
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.order import SampleOrder
from biomedica_kedro.clip.train import Trainer
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard

HERE = Path(__file__).resolve().parent
BATCH = 32
VIT = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
SIGLIP = {"objective": Objective.SIGLIP}
CASES = {
    "InfoNCE": {"size": 64},
    "InfoNCE, accumulated in 2 pieces": {"size": 64, "accumulate": 2},
    "SigLIP": {"size": 64, **SIGLIP},
    "InfoNCE, figures resized by each": {},
    "SigLIP, figures resized by each": SIGLIP,
}


def main() -> None:
    """Train on both sides and write benchmarks/results/training_parity.md."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--peer", help="Python of an environment with open_clip_torch 3.3.0 and webdataset 0.2.86")
    arguments.add_argument("--steps", type=int, default=12)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"{date.today().isoformat()}, CPU, float32, a small vision transformer, batch {BATCH}, {given.steps} steps, "
        f"learning rate 1e-3 after 4 steps of warm-up. Difference: |ours - theirs| / theirs.",
        "",
        "| training | loss of step 1 | of the last step | largest difference in steps 1-4 | in all |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        peer = given.peer or environment(Path(folder) / "open_clip", PEERS["open_clip"])
        for place, (name, changes) in enumerate(CASES.items()):
            ours, theirs = compare(Path(folder) / str(place), peer, given.steps, **changes)
            difference = np.abs(ours - theirs) / theirs
            lines.append(
                f"| {name} | {ours[0]:.5f} | {ours[-1]:.5f} | {difference[:4].max():.1e} | {difference.max():.1e} |"
            )
    text_ = "\n".join(lines) + "\n"
    (HERE / "results" / "training_parity.md").write_text(text_)
    print(text_)


def compare(
    folder: Path, peer: str, steps: int, objective: Objective = Objective.INFO_NCE, accumulate: int = 1,
    size: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Losses of both sides, step by step."""
    folder.mkdir()
    is_siglip = objective is Objective.SIGLIP
    (folder / "parity.json").write_text(json.dumps({**VIT, **({"init_logit_bias": -10} if is_siglip else {})}))
    base = BaseModel(str(folder / "parity.json"), str(folder / "start.safetensors"))
    torch.manual_seed(0)
    start = create(config_of(BaseModel(base.architecture), ModelOptions()))
    save_model(folder / "start.safetensors", start.state_dict())

    n_samples = steps * BATCH
    samples = make_samples(n_samples, size)
    options = TrainOptions(
        steps=steps, batch_size=BATCH, threads=1, objective=objective, accumulate=accumulate,
        optimizer=OptimizerOptions(warmup_steps=4, weight_decay=0),
    )  # fmt: skip
    places = write_shard(folder / "ours.tar", samples)
    training = Places(
        [folder / "ours.tar"], np.zeros(n_samples, np.int32), np.array([place.offset for place in places]),
        np.array([place.n_bytes for place in places]), np.ones(n_samples, np.float32),
    )  # fmt: skip
    (folder / "scratch").mkdir()
    outcome = Trainer(
        base=base, options=options, training=training, validation=training, scratch=folder / "scratch", log=MemoryLog()
    ).run()

    order = SampleOrder(training.weight, BATCH, options.seed)
    drawn = [samples[draw.index] for batch in order.batches(0, steps) for draw in batch]
    write_shard(folder / "theirs.tar", drawn)
    settings = [
        *("--model", "parity", "--pretrained", base.weights, "--train-data", "given", "--logs", folder / "logs"),
        *("--name", "parity", "--batch-size", BATCH // accumulate, "--accum-freq", accumulate, "--workers", 0),
        *("--epochs", 1, "--warmup", 4, "--lr", 1e-3, "--beta1", 0.9, "--beta2", 0.98, "--eps", 1e-6),
        *("--wd", 0, "--grad-clip-norm", 1.0, "--precision", "fp32", "--save-frequency", 0),
        *(["--siglip"] if is_siglip else []),
    ]
    subprocess.run(
        [peer, "-P", HERE / "peers" / "losses.py", folder / "parity.json", folder / "theirs.tar", str(n_samples),
         folder / "losses.json", "--", *map(str, settings)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    theirs = np.array(json.loads((folder / "losses.json").read_text()))[::accumulate]
    return np.array([row["loss"] for row in outcome.history]), theirs


def make_samples(count: int, size: int | None) -> list[Sample]:
    """Synthetic figures, at `size` where it is given; several may share one, each has a text of its own."""
    random = np.random.default_rng(0)
    images = load_images(None, count) if size is None else [small_figure(random, size) for _ in range(count)]
    return [Sample(f"s{index:06d}", image, "jpg", text(random, 12), {}) for index, image in enumerate(images)]


def small_figure(random: np.random.Generator, size: int) -> bytes:
    """A smooth texture of the model's size."""
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
