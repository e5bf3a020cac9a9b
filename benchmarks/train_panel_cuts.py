"""Train the network that judges cuts between panels: src/biomedica_kedro/images/panel_cuts.safetensors.

    python benchmarks/train_panel_cuts.py [--figures 1600] [--seed 100] [--output FILE]

Figures are drawn with layouts of real ones (`drawn_figures`); no real picture is seen. Every place where a region may
be cut is an example: right if all true panels lie on one side of it. Regions are reached by right cuts, one of them by
chance. Every fifth figure is kept apart for the calibration.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from drawn_figures import DrawnFigure, draw_figures
from safetensors.numpy import save_file
from torch import nn

import biomedica_kedro.images.panel_cuts as panel_cuts
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_cuts import Cut, possible_cuts
from biomedica_kedro.images.panel_lines import Scene
from biomedica_kedro.images.panels import WORKING_SIZE, gray_of
from biomedica_kedro.images.sub_captions import split_caption

HIDDEN = (64, 32)
TRIES = 3
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 30, 256, 4e-3, 0.1, 0.15
_HIDDEN_LETTERS, _WRONG_LETTERS, _LETTERS_OF_SINGLES = 0.4, 0.1, 0.03
_INTRUSION = 0.08  # share of a panel that a right cut may take off: its box is drawn by hand


def examples(figures: Iterable[DrawnFigure], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, whether the cut is right, and the figure's number, of every cut of every figure."""
    rng = np.random.default_rng(seed)
    features, right, numbers = [], [], []
    for number, figure in enumerate(figures):
        gray, scale = gray_of(figure.image, WORKING_SIZE)
        if min(gray.shape) < 8:
            continue
        scene = Scene(gray)
        boxes = [Box(*(round(edge * scale) for edge in (b.top, b.left, b.bottom, b.right))) for b in figure.boxes]
        for cut, is_right in _walk(scene, scale, boxes, letters_told(rng, figure), rng):
            features.append(cut.features)
            right.append(is_right)
            numbers.append(number)
    return np.stack(features), np.array(right), np.array(numbers)


def letters_told(rng: np.random.Generator, figure: DrawnFigure) -> int:
    """Panels that the caption names, sometimes hidden or wrong, as real captions are."""
    number = len(split_caption(figure.caption).parts)
    if len(figure.boxes) == 1:
        return int(rng.integers(2, 5)) if rng.random() < _LETTERS_OF_SINGLES else number
    if rng.random() < _HIDDEN_LETTERS:
        return 0
    return max(2, number + int(rng.choice([-1, 1]))) if number and rng.random() < _WRONG_LETTERS else number


def _walk(scene: Scene, scale: float, boxes: Sequence[Box], n_letters: int, rng: np.random.Generator):
    whole = scene.trimmed(Box(0, 0, *scene.shape))
    regions = [(whole, list(boxes), 0)]
    while regions:
        region, within, depth = regions.pop()
        right = []
        for cut in possible_cuts(scene, region, whole, depth, n_letters, panel_cuts._LEAST_PANEL * scale):
            is_right = len(within) > 1 and separates(cut, within)
            yield cut, is_right
            if is_right:
                right.append(cut)
        if right:
            cut = right[int(rng.integers(len(right)))]
            for piece, side in ((cut.first, True), (cut.second, False)):
                regions.append((scene.trimmed(piece), [b for b in within if _is_first(cut, b) is side], depth + 1))


def separates(cut: Cut, boxes: Sequence[Box]) -> bool:
    """Whether panels lie on both sides of a cut and none on it."""
    place = _place(cut)
    for box in boxes:
        near, far = (box.left, box.right) if cut.axis == "columns" else (box.top, box.bottom)
        if min(place - near, far - place) > max(4, _INTRUSION * (far - near)):
            return False
    return len({_is_first(cut, box) for box in boxes}) == 2


def _place(cut: Cut) -> float:
    if cut.axis == "columns":
        return (cut.first.right + cut.second.left) / 2
    return (cut.first.bottom + cut.second.top) / 2


def _is_first(cut: Cut, box: Box) -> bool:
    center = (box.left + box.right) / 2 if cut.axis == "columns" else (box.top + box.bottom) / 2
    return center < _place(cut)


def fit(features_NF: np.ndarray, right_N: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Tensors of a network, without the calibration."""
    torch.manual_seed(seed)
    mean, scale = features_NF.mean(axis=0), features_NF.std(axis=0) + 1e-3
    values = torch.tensor(np.clip((features_NF - mean) / scale, -4, 4).astype(np.float32))
    targets = torch.tensor(right_N, dtype=torch.float32)
    widths = (values.shape[1], *HIDDEN, 1)
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    network = nn.Sequential(
        layers[0], nn.ReLU(), nn.Dropout(DROPOUT), layers[1], nn.ReLU(), nn.Dropout(DROPOUT), layers[2]
    )
    batches = max(1, len(values) // BATCH)
    steps = EPOCHS * batches
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        if step % batches == 0:
            order = torch.randperm(len(values))
        chosen = order[(step % batches) * BATCH :][:BATCH]
        loss = nn.functional.binary_cross_entropy_with_logits(network(values[chosen])[:, 0], targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    tensors = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
    for number, layer in enumerate(layers):
        tensors[f"weight_{number}"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
        tensors[f"bias_{number}"] = layer.bias.detach().numpy().copy()
    return tensors


def calibrate(figures: Sequence[DrawnFigure]) -> np.ndarray:
    """Slope and shift of the logit of an image's first cut, fitted to whether there are several panels."""
    logits, several = [], []
    for figure in figures:
        for n_letters in {0, len(split_caption(figure.caption).parts)}:
            surest = panel_cuts.Cutting(*gray_of(figure.image, WORKING_SIZE), n_letters).surest()
            if surest is None:
                continue
            logits.append(surest.logit)
            several.append(float(len(figure.boxes) > 1))
    x, y = torch.tensor(np.array(logits)), torch.tensor(np.array(several))
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=100)

    def loss():
        optimizer.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(line[0] * x + line[1], y)
        value.backward()
        return value

    optimizer.step(loss)
    return line.detach().numpy().astype(np.float32)


def loss_of(tensors: dict[str, np.ndarray], features_NF: np.ndarray, right_N: np.ndarray) -> float:
    """Mean cross entropy of the cuts of figures kept apart."""
    logits = panel_cuts.Network(tensors).logits(features_NF)
    return float(np.mean(np.logaddexp(0, np.where(right_N, -logits, logits))))


def train(figures: Sequence[DrawnFigure], seed: int, output: Path) -> None:
    """Fit some networks on four fifths of the figures, keep and calibrate the one that does best on the last fifth."""
    fitted, apart = ([f for i, f in enumerate(figures) if (i % 5 == 0) is is_apart] for is_apart in (False, True))
    features, right, _ = examples(fitted, seed)
    tried = [fit(features, right, seed + i) for i in range(TRIES)]
    features_apart, right_apart, _ = examples(apart, seed)
    losses = [loss_of(tensors, features_apart, right_apart) for tensors in tried]
    tensors = {**tried[int(np.argmin(losses))], "calibration": np.array([1, 0], np.float32)}
    save_file(tensors, output)
    panel_cuts.WEIGHTS = output
    panel_cuts._network.cache_clear()
    tensors["calibration"] = calibrate(apart)
    save_file(tensors, output)
    print(f"{len(fitted)} figures, {len(right)} cuts, {right.mean():.3f} right; losses apart {np.round(losses, 4)}")


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--output", type=Path, default=panel_cuts.WEIGHTS)
    given = parser.parse_args()
    train(list(draw_figures(given.figures, given.seed)), given.seed, given.output)


if __name__ == "__main__":
    main()
