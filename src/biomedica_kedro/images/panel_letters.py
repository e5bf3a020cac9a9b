"""Panel letters in an image: lone letters among its marks, told by a small network.

A letter is a connected piece of dark or bright pixels with nothing of its size beside it, except a bracket. What it
reads as comes from a network of 20,000 weights trained on drawn letters (benchmarks/train_panel_letters.py), without
regard to case. Only letters that the caption names are looked for: a lone "C" in a chart is of no use otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors.numpy import load_file
from scipy import ndimage

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_lines import Gray, Mask

Patches = npt.NDArray[np.float32]  # patch_NF: N marks, F = 16 x 16 shares of ink and width over height

PATCH = 16
WEIGHTS = Path(__file__).with_name("panel_letters.safetensors")
_DARK, _BRIGHT = 130, 170
_LEAST_HEIGHT, _MOST_HEIGHT = 6, 34
_LEAST_PROBABILITY, _SURE = 0.3, 0.9  # of a letter; one that is sure is looked for no further


def find_letters(gray: Gray, wanted: Sequence[str]) -> dict[str, Box]:
    """Places of the wanted letters, as far as they are found.

    Args:
        gray: gray_HW, letters 6 to 34 pixels high.
        wanted: single letters in either case.
    """
    found: dict[str, tuple[float, Box]] = {}
    letters = [letter for letter in wanted if len(letter) == 1 and "A" <= letter.upper() <= "Z"]
    for mask in _masks(gray):
        places, patches = _marks_of(mask)
        probabilities = _read(np.stack(patches)) if patches else np.zeros((0, 26), np.float32)
        for letter in letters if places else ():
            column = probabilities[:, ord(letter.upper()) - ord("A")]
            best = int(column.argmax())
            if column[best] > max(found.get(letter, (0.0,))[0], _LEAST_PROBABILITY):
                found[letter] = float(column[best]), places[best]
        if len(found) == len(letters) and all(probability > _SURE for probability, _ in found.values()):
            break
    return {letter: found[letter][1] for letter in letters if letter in found}


def lone_marks(gray: Gray) -> tuple[list[Box], list[Patches]]:
    """Marks of the size of a letter with nothing of their size beside them, and their patches."""
    places, patches = zip(*map(_marks_of, _masks(gray)), strict=True)
    return [place for some in places for place in some], [patch for some in patches for patch in some]


def _masks(gray: Gray) -> Iterator[Mask]:
    yield gray < _DARK
    yield gray > _BRIGHT


def _marks_of(mask: Mask) -> tuple[list[Box], list[Patches]]:
    labels, count = ndimage.label(mask)
    if not count:
        return [], []
    places: list[Box] = []
    patches: list[Patches] = []
    edges = _extents(labels, count)
    for i in np.flatnonzero(_stand_alone(edges)).tolist():
        top, left, bottom, right = edges[i].tolist()
        mark = labels[top:bottom, left:right] == i + 1
        if np.count_nonzero(mark) < 0.9 * mark.size or right - left < 0.35 * (bottom - top):
            places.append(Box(top, left, bottom, right))
            patches.append(patch_of(mark))
    return places, patches


def _extents(labels_HW: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """Top, left, bottom, right of each label: `ndimage.find_objects` on runs of pixels instead of pixels."""
    height, width = labels_HW.shape
    is_ink = np.zeros((height, width + 1), np.bool_)
    is_ink[:, :width] = labels_HW
    is_ink_N = is_ink.ravel()
    changes = np.flatnonzero(is_ink_N[1:] != is_ink_N[:-1]) + 1
    if is_ink_N[0]:
        changes = np.append(0, changes)
    row, left = np.divmod(changes[::2], width + 1)
    label = labels_HW[row, left] - 1
    edges = np.empty((count, 4), np.int64)
    edges[label[::-1], 0], edges[label, 2] = row[::-1], row + 1  # the last one written stays
    edges[:, 1], edges[:, 3] = width, 0
    np.minimum.at(edges[:, 1], label, left)
    np.maximum.at(edges[:, 3], label, left + changes[1::2] - changes[::2])
    return edges


def _stand_alone(edges: npt.NDArray[np.int64]) -> Mask:
    """Which of the boxes (top, left, bottom, right) are like letters and have no like neighbor in their line."""
    height, width = edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1]
    alone = (height >= _LEAST_HEIGHT) & (height <= _MOST_HEIGHT) & (width >= 2) & (width <= 1.5 * height + 2)
    some = np.flatnonzero(alone)
    others = np.flatnonzero((height >= 4) & (height <= 60) & (width <= 90))
    mine, other = edges[some][:, None, :], edges[others][None, :, :]
    my_height, other_height = height[some][:, None], height[others][None, :]
    shared = np.minimum(mine[..., 2], other[..., 2]) - np.maximum(mine[..., 0], other[..., 0])
    apart = np.maximum(other[..., 1] - mine[..., 3], mine[..., 1] - other[..., 3])
    beside = (shared > 0.35 * my_height) & (apart < 0.7 * my_height) & (other_height >= 0.45 * my_height)
    beside &= others[None, :] != some[:, None]
    brackets = beside & (width[others][None, :] < 0.45 * other_height) & (other_height >= my_height)
    alone[some] = ((beside & ~brackets).sum(axis=1) == 0) & (brackets.sum(axis=1) <= 2)
    return np.asarray(alone)


def patch_of(mark: Mask) -> Patches:
    """patch_F of one mark: drawn into the middle of a square of `PATCH` pixels, and its width over its height."""
    height, width = mark.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    sampling_PS = _sampling(side)
    small = sampling_PS[:, top : top + height] @ mark.astype(np.float32) @ sampling_PS[:, left : left + width].T
    patch_F = np.empty(PATCH * PATCH + 1, np.float32)
    patch_F[:-1], patch_F[-1] = small.ravel(), width / height
    return patch_F


@cache
def _sampling(side: int) -> Patches:
    """sampling_PS: how much each of S pixels in a row counts for each of the `PATCH` that they become."""
    how = Image.Resampling.BOX if side >= PATCH else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(np.eye(side, dtype=np.float32)).resize((side, PATCH), how))


def _read(patch_NF: Patches) -> Patches:
    """Probabilities of A to Z and of no letter, of each patch."""
    tensors = _network()
    hidden = np.maximum(patch_NF @ tensors["weight_0"] + tensors["bias_0"], 0)
    logits = hidden @ tensors["weight_1"] + tensors["bias_1"]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)


@cache
def _network() -> dict[str, Patches]:
    return load_file(WEIGHTS)
