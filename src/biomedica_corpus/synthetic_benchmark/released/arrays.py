"""Sets of arrays in one file as they are downloaded: MedMNIST's .npz, PatchCamelyon's HDF5 in gzip."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np

from biomedica_corpus.synthetic_benchmark.released.folders import write_csv
from biomedica_corpus.synthetic_benchmark.released.tiles import tile
from biomedica_kedro.benchmark.task import Kind, Task

GRAY = (
    "breastmnist", "chestmnist", "octmnist", "organamnist", "organcmnist", "organsmnist", "pneumoniamnist",
    "tissuemnist",
)  # fmt: skip


def write_medmnist(task: Task, folder: Path, per_class: int) -> int:
    """Six arrays, uint8, 224 pixels, gray sets without a channel; labels N x 1, or N x 14 (medmnist 3.0.2)."""
    n_classes = len(task.classes)
    n = per_class * n_classes
    images = np.stack([tile(at % n_classes, n_classes, at, side=224) for at in range(n)])
    if task.id in GRAY:
        images = images[:, :, :, 0]
    labels = (np.arange(n) % n_classes).reshape(-1, 1)
    if task.kind is Kind.MULTILABEL:
        labels = (labels == np.arange(n_classes)).astype(int)
        labels[0] = 0  # most chest x-rays show nothing
        labels[1, :2] = 1
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": labels.astype(np.uint8) for split in ("train", "val", "test")}
    np.savez_compressed(folder / f"{task.id}_224.npz", **arrays)  # type: ignore[arg-type]
    return n


def write_pcam(task: Task, folder: Path, per_class: int) -> int:
    """HDF5 in gzip and a CSV that is not; x is N x 96 x 96 x 3, y is N x 1 x 1 x 1 (torchvision, basveeling/pcam)."""
    import h5py

    n = 2 * per_class
    labels = (np.arange(n) % 2).astype(np.uint8)
    arrays = {"x": np.stack([tile(at % 2, 2, at, side=96) for at in range(n)]), "y": labels.reshape(n, 1, 1, 1)}
    for key, array in arrays.items():
        plain = io.BytesIO()
        with h5py.File(plain, "w") as file:
            file[key] = array
        packed = folder / f"camelyonpatch_level_2_split_test_{key}.h5.gz"
        packed.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    columns = ("", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi")
    rows = [(at, 10, 20, bool(at % 2), bool(at % 2), f"camelyon16_test_{at // 2:03d}") for at in range(n)]
    write_csv(folder / "camelyonpatch_level_2_split_test_meta.csv", columns, rows)
    return n
