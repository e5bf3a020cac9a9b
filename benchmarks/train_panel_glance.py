"""Train the network of the second look at figures: src/biomedica_kedro/images/panel_glance.safetensors.

    python benchmarks/train_panel_glance.py [--blocks 20] [--figures 500] [--seed 1000] [--output FILE]

Figures are drawn with layouts of real ones (`drawn_figures`), block by block; two blocks share their photographs, which
no benchmark shows. Examples are the figures of which the cuts are not sure. Every tenth is kept apart, to
say how many are right. It takes a quarter of an hour on one core, most of it to draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from drawn_figures import DrawnFigure, draw_figures
from safetensors.numpy import save_file
from torch import nn
from train_panel_cuts import letters_told

import biomedica_kedro.images.panel_glance as panel_glance
from biomedica_kedro.images.panel_cuts import Cutting
from biomedica_kedro.images.panels import WORKING_SIZE, gray_of

BLOCKS_OF_POOL = 2
UNSURE = 6.0  # the network is asked for logits up to 5
CHANNELS, KERNELS, HIDDEN = (2, 16, 32, 64, 96), (4, 3, 3, 3), 64
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 30, 64, 4e-3, 0.05, 0.3
_TELLINGS = 3


class Example(NamedTuple):
    """A figure as the network sees it, small_SSC, what was counted, counted_F, and whether it has several panels."""

    small: np.ndarray
    counted: np.ndarray
    has_several: bool


class Seer(nn.Module):
    """The network in training; `exported` gives the tensors of `panel_glance`."""

    def __init__(self, n_counted: int) -> None:
        super().__init__()
        layers = []
        for before, after, side in zip(CHANNELS[:-1], CHANNELS[1:], KERNELS, strict=True):
            layers += [nn.Conv2d(before, after, side, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.seen = nn.Sequential(*layers)
        self.judged = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(2 * CHANNELS[-1] + n_counted, HIDDEN), nn.ReLU(),
            nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1),
        )  # fmt: skip

    def forward(self, small_NCSS: torch.Tensor, counted_NF: torch.Tensor) -> torch.Tensor:
        """Logits of several panels."""
        seen = self.seen(small_NCSS)
        return self.judged(torch.cat([seen.mean((2, 3)), seen.amax((2, 3)), counted_NF], 1))[:, 0]

    def exported(self) -> dict[str, np.ndarray]:
        """Tensors with the normalization worked into the kernels."""
        tensors = {}
        for number, (conv, norm) in enumerate(zip(self.seen[::3], self.seen[1::3], strict=True)):
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            kernel = (conv.weight * factor[:, None, None, None]).permute(2, 3, 1, 0).flatten(0, 2)
            tensors[f"conv_{number}"] = kernel
            tensors[f"conv_bias_{number}"] = (conv.bias - norm.running_mean) * factor + norm.bias
        for number, layer in enumerate((self.judged[1], self.judged[4])):
            tensors[f"weight_{number}"], tensors[f"bias_{number}"] = layer.weight.T, layer.bias
        return {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}


def examples(figures: Iterable[DrawnFigure], seed: int) -> Iterator[Example]:
    """Figures of which the cuts are not sure, with captions that tell their letters, hide them or are wrong."""
    rng = np.random.default_rng(seed)
    for figure in figures:
        gray, scale = gray_of(figure.image, WORKING_SIZE)
        for n_letters in sorted({letters_told(rng, figure) for _ in range(_TELLINGS)}):
            surest = Cutting(gray, scale, n_letters).surest()
            if surest is not None and abs(surest.logit) < UNSURE:
                small = panel_glance.small_figure(gray, surest.cut.first, surest.cut.second)
                yield Example(small, surest.counted, len(figure.boxes) > 1)


def fit(given: list[Example], seed: int) -> dict[str, np.ndarray]:
    """Tensors of a network."""
    torch.manual_seed(seed)
    counted_NF = np.stack([example.counted for example in given])
    mean, scale = counted_NF.mean(axis=0), counted_NF.std(axis=0) + 1e-3
    counted = torch.tensor(np.clip((counted_NF - mean) / scale, -4, 4).astype(np.float32))
    small = torch.tensor(np.stack([example.small for example in given])).permute(0, 3, 1, 2)
    targets = torch.tensor([float(example.has_several) for example in given])
    network = Seer(counted.shape[1]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    batch = min(BATCH, len(given))
    steps = EPOCHS * (len(given) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(given))[: len(given) // batch * batch].split(batch):
            seen = _varied(small[chosen].float() / 255 - 0.5)
            loss = nn.functional.binary_cross_entropy_with_logits(network(seen, counted[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    return {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32), **network.exported()}


def _varied(small_NCSS: torch.Tensor) -> torch.Tensor:
    """Mirrored, brighter and darker; the cut is mirrored with the figure."""
    for axis, share in ((3, 0.5), (2, 0.3)):
        small_NCSS = small_NCSS.flip(axis) if torch.rand(1) < share else small_NCSS
    contrast, brightness = 0.8 + 0.4 * torch.rand(len(small_NCSS), 1, 1, 1), 0.1 * torch.randn(len(small_NCSS), 1, 1, 1)
    figure, cut = small_NCSS[:, :1] * contrast + brightness, small_NCSS[:, 1:]
    return torch.cat([figure, cut], 1).contiguous(memory_format=torch.channels_last)


def train(given: list[Example], seed: int, output: Path) -> None:
    """Fit on nine tenths, say what is right of the last tenth, write."""
    apart = given[::10]
    tensors = fit([example for number, example in enumerate(given) if number % 10], seed)
    right = [(panel_glance.logit_of(tensors, e.small, e.counted) > 0) == e.has_several for e in apart]
    cuts = [(e.counted[-1] > 0) == e.has_several for e in apart]
    save_file(tensors, output)
    print(f"{len(given)} examples; of those kept apart {np.mean(right):.3f} right, by the cut {np.mean(cuts):.3f}")


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--figures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=panel_glance.WEIGHTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: list[Example] = []
    for block in range(given.blocks):
        figures = draw_figures(given.figures, given.seed + block, pool=given.seed + block // BLOCKS_OF_POOL)
        found += examples(figures, block)
    train(found, given.seed, given.output)


if __name__ == "__main__":
    main()
