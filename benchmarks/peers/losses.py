"""Losses of open_clip_train's own training, for training_parity.py; run by an environment that holds open_clip 3.3.0.

    PYTHON losses.py CONFIGURATION.json SHARD.tar N_SAMPLES OUTPUT.json -- ARGUMENTS OF open_clip_train

Model, optimizer, schedule, loss and loop are those of `open_clip_train.main`; data come through its own webdataset
pipeline and transform for evaluation, which neither shuffle nor augment, so that both trainings see the same batches.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import open_clip
import torch
from open_clip_train import main as training
from open_clip_train.data import get_wds_dataset


def main() -> None:
    """Train and write the loss of each call of the loss function."""
    config, shard, n_samples, output = sys.argv[1:5]
    open_clip.add_model_config(config)
    torch.set_num_threads(1)
    losses: list[float] = []
    make_loss = training.create_loss

    def get_data(args, preprocess, epoch, tokenizer):
        args.val_data, args.val_num_samples = shard, int(n_samples)
        return {"train": get_wds_dataset(args, preprocess[1], is_train=False, tokenizer=tokenizer)}

    def create_loss(args):
        loss = make_loss(args)

        def recorded(*given, **named):
            found = loss(*given, **named)
            losses.append(sum(found.values()).item())
            return found

        return recorded

    training.get_data, training.create_loss = get_data, create_loss
    training.main(sys.argv[6:])
    Path(output).write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
