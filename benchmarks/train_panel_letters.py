"""Train the network that reads panel letters: src/biomedica_kedro/images/panel_letters.safetensors.

    python benchmarks/train_panel_letters.py [--letters 30000] [--figures 600] [--seed 0]

Letters are drawn in the fonts that come with matplotlib and Pillow, in sizes and with blur as in published figures.
What is no letter: digits and signs in the same fonts, and the lone marks of drawn figures without labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from drawn_figures import draw_figures
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from safetensors.numpy import save_file
from torch import nn

import biomedica_kedro.images.panel_letters as panel_letters
from biomedica_kedro.images.panels import WORKING_SIZE, gray_of

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "STIXGeneral", "STIXGeneralBol", "cmss10",
    "cmr10", "cmb10", "pillow",
)  # fmt: skip
HIDDEN, EPOCHS, BATCH, NO_LETTER = 72, 25, 256, 26
CELLS, CELL = 12, 100  # of a page of letters, and their pixels
OTHERS = "0123456789+-=*#%&?<>/αβμ"


@cache
def _face(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == "pillow":
        return ImageFont.load_default(size)
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


def drawn_marks(count: int, seed: int) -> Iterator[tuple[np.ndarray, int]]:
    """Patches of drawn letters and other signs with their class, a page of them at a time."""
    rng = np.random.default_rng(seed)
    for _ in range(-(-count // CELLS**2)):
        page = Image.new("L", (CELLS * CELL, CELLS * CELL), 255)
        classes = {}
        for row, column in np.ndindex(CELLS, CELLS):
            is_letter = rng.random() < 0.8
            number = int(rng.integers(26))
            sign = chr(ord("A" if rng.random() < 0.6 else "a") + number) if is_letter else str(rng.choice(list(OTHERS)))
            face = _face(FONTS[int(rng.integers(len(FONTS)))], int(rng.integers(18, 56)))
            ImageDraw.Draw(page).text((column * CELL + 20, row * CELL + 10), sign, fill=0, font=face)
            classes[row, column] = number if is_letter else NO_LETTER
        scale = rng.uniform(0.35, 0.75)
        page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2)))
        page = page.resize((round(page.width * scale), round(page.height * scale)), Image.Resampling.BOX)
        gray = np.asarray(page, dtype=np.float32) + rng.normal(0, 6, (page.height, page.width))
        places, patches = panel_letters.lone_marks(np.clip(gray, 0, 165).astype(np.uint8))
        for place, patch in zip(places, patches, strict=True):
            row, column = (
                int((near + far) / 2 / scale / CELL)
                for near, far in ((place.top, place.bottom), (place.left, place.right))
            )
            if place.height > 5 and (row, column) in classes:
                yield patch, classes[row, column]


def figure_marks(count: int, seed: int) -> Iterator[tuple[np.ndarray, int]]:
    """Patches of lone marks in figures without labels."""
    for figure in draw_figures(count, seed):
        if not figure.labels:
            for patch in panel_letters.lone_marks(gray_of(figure.image, WORKING_SIZE)[0])[1]:
                yield patch, NO_LETTER


def fit(patch_NF: np.ndarray, class_N: np.ndarray, seed: int) -> nn.Sequential:
    """A network with one hidden layer."""
    torch.manual_seed(seed)
    values, targets = torch.tensor(patch_NF), torch.tensor(class_N)
    network = nn.Sequential(nn.Linear(values.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, NO_LETTER + 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    per_epoch = len(values) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * per_epoch)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(values))[: per_epoch * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(network(values[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network


def main() -> None:
    """Draw, train, write, and say how many letters kept apart are read right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--letters", type=int, default=30000)
    parser.add_argument("--figures", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=panel_letters.WEIGHTS)
    given = parser.parse_args()
    marks = [*drawn_marks(given.letters, given.seed), *figure_marks(given.figures, given.seed + 200)]
    patches, classes = np.stack([patch for patch, _ in marks]), np.array([number for _, number in marks])
    apart = np.random.default_rng(given.seed).random(len(marks)) < 0.1
    network = fit(patches[~apart], classes[~apart], given.seed)
    with torch.no_grad():
        read = network(torch.tensor(patches[apart])).argmax(dim=1).numpy()
    print(f"{len(marks)} marks; {np.mean(read == classes[apart]):.3f} of those kept apart are read right")
    tensors = {}
    for number, layer in enumerate((network[0], network[2])):
        tensors[f"weight_{number}"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
        tensors[f"bias_{number}"] = layer.bias.detach().numpy().copy()
    save_file(tensors, given.output)


if __name__ == "__main__":
    main()
