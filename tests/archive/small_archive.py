"""Pairs, articles, vectors, labels and samples of nine images in three batches, as the pipelines leave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from engine import commit

from biomedica_kedro.archive.rows import ArchiveTables
from biomedica_kedro.labels.embedding import embedding_table
from biomedica_kedro.records import ARTICLES, IMAGE_CAPTION_PAIRS, IMAGE_LABELS, to_table
from biomedica_kedro.shards.selection import PREPARED_SAMPLES
from biomedica_kedro.stages import BatchFolder

CAPTIONS = (
    "Chest x-ray of a patient with pneumonia", "Chest x-ray without findings", "Western blot of cells",
    "Axial CT of the abdomen", "Bar plot of survival", "Chest x-ray of pneumonia, second reading",
    "Photograph of a rash", "Histology of the liver", "Electron micrograph of a virus",
)  # fmt: skip
# In four dimensions: images of lungs, of blots, of plots, of anything else; the eighth has no vector
LOOKS = {"lung": (1, 0, 0, 0), "blot": (0, 1, 0, 0), "plot": (0, 0, 1, 0), "other": (0, 0, 0, 1)}
LOOK_OF = ("lung", "lung", "blot", "other", "plot", "lung", "other", None, "blot")


def key(number: int) -> str:
    return f"PMC{number}_1-F1-0"


def write_archive(
    root: Path, *, captions: Mapping[int, str] | None = None, batches: int = 3, dimensions: int = 4
) -> ArchiveTables:
    """Three images a batch.

    Args:
        root: folder of the data sets.
        captions: captions of some images that are to be others.
        batches: how many of the three batches there are.
        dimensions: of the vectors.
    """
    names = ("image_caption_pairs", "articles", "archive_vectors", "image_labels", "prepared_samples")
    folders = {name: BatchFolder(root / name) for name in names}
    tables: dict[str, dict] = {name: {} for name in names}
    for batch in range(batches):
        numbers = range(3 * batch, 3 * batch + 3)
        looks = [n for n in numbers if LOOK_OF[n] is not None]
        vectors = np.zeros((len(looks), dimensions), np.float16)
        for row, n in enumerate(looks):
            vectors[row, :4] = np.array(LOOKS[LOOK_OF[n]]) + 0.01 * n
        made = {
            "image_caption_pairs": to_table([pair(n, captions or {}) for n in numbers], IMAGE_CAPTION_PAIRS),
            "articles": to_table([article(n) for n in numbers], ARTICLES),
            "archive_vectors": embedding_table([key(n) for n in looks], vectors),
            "image_labels": to_table([label(n) for n in numbers], IMAGE_LABELS),
            "prepared_samples": to_table([{"key": key(n), "split": "train"} for n in numbers if n], PREPARED_SAMPLES),
        }
        for name, table in made.items():
            tables[name][f"{batch:04d}"] = table
    for name, folder in folders.items():
        commit(folder, tables[name])
    return ArchiveTables(
        pairs=folders["image_caption_pairs"], articles=folders["articles"], vectors=folders["archive_vectors"],
        labels=folders["image_labels"], samples=folders["prepared_samples"],
    )  # fmt: skip


def pair(n: int, captions: Mapping[int, str]) -> dict:
    return {
        "key": key(n), "article_id": f"PMC{n}.1", "figure_id": "F1", "image_id": "0", "position": 1, "kind": "figure",
        "label": "Figure 1", "caption": captions.get(n, CAPTIONS[n]), "mentions": [f"As figure {n} shows."],
        "license_code": "CC BY" if n % 2 else "CC BY-NC", "license_group": "commercial" if n % 2 else "noncommercial",
        "redistributable": True, "file_name": "f1.jpg", "format": "jpg", "width": 100, "height": 80, "mode": "RGB",
        "n_bytes": 10, "sha256": "", "phash": "",
    }  # fmt: skip


def article(n: int) -> dict:
    return {
        "article_id": f"PMC{n}.1", "title": f"Title {n}", "journal": "Radiology's Letters", "authors": ["A. Bee"],
        "publication_date": f"20{10 + n}-05-01",
    }  # fmt: skip


def label(n: int) -> dict:
    concept = "Clinical Imaging" if LOOK_OF[n] == "lung" else "Plots and Charts"
    return {
        "key": key(n), "cluster_id": n, "distance": 0.1, "panel_type": "single" if n < 6 else "multiple",
        "panel_subtype": "", "primary_labels": [concept], "secondary_labels": [], "confidence": 0.5,
    }  # fmt: skip


@dataclass
class LookingReader:
    """Reads "lungs" as the vector of lungs, anything else as that of what is else; any image as a blot."""

    reads_text: bool = True

    def of_words(self, words: str) -> np.ndarray:
        return np.array(LOOKS["lung" if "lungs" in words else "other"], np.float32)

    def of_image(self, pixels: np.ndarray) -> np.ndarray:
        return np.array(LOOKS["blot"], np.float32)
