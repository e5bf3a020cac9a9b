"""A corpus of coloured squares: small enough to train on in seconds, with a caption that names the colour."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.records import DATASET_METADATA, to_table
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard
from biomedica_kedro.stages import BatchFolder

sys.path.insert(0, str(Path(__file__).parents[1]))  # for processes of their own
from engine import commit, finish

COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (240, 240, 240)}
SPLITS = ("train", "train", "train", "train", "train", "train", "validation", "test")


@dataclass(frozen=True)
class SmallCorpus:
    metadata: pa.Table
    shards: BatchFolder
    metadata_folder: BatchFolder


def jpeg(color: tuple[int, int, int], seed: int, size: tuple[int, int] = (80, 60)) -> bytes:
    noise = np.random.default_rng(seed).integers(-20, 20, (size[1], size[0], 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def make_corpus(folder: Path, n_samples: int = 64) -> SmallCorpus:
    shards = BatchFolder(folder / "dataset_shards")
    shards.path.mkdir(parents=True)
    rows, names = [], list(COLORS)
    for split in dict.fromkeys(SPLITS):
        indices = [index for index in range(n_samples) if SPLITS[(index // len(names)) % len(SPLITS)] == split]
        name = f"biomedica-commercial-{split}-000000"
        samples = [
            Sample(
                f"PMC{index}_1-F1-0",
                jpeg(COLORS[names[index % len(names)]], index),
                "jpg",
                f"A {names[index % len(names)]} field, sample {index}. Seen by day.",
                {"figure_mentions": [f"We show {names[index % len(names)]}."]},
            )
            for index in indices
        ]
        places = write_shard(shards.file(name, ".tar"), samples)
        shards.write_commit(name, inputs="x", rows=len(samples), rejects={}, files=[shards.file(name, ".tar")])
        rows += [
            {
                "key": sample.key, "shard": f"{name}.tar", "offset": place.offset, "n_bytes": place.n_bytes,
                "split": split, "caption": sample.caption, "caption_length": len(sample.caption),
                "license_group": "commercial", "primary_label": names[index % len(names)], "sha256": f"{index:064d}",
                "panel_type": "single", "publication_date": "2020-01-01",
            }
            for index, sample, place in zip(indices, samples, places, strict=True)
        ]  # fmt: skip
    finish(shards, [f"biomedica-commercial-{split}-000000" for split in dict.fromkeys(SPLITS)])
    metadata = to_table(rows, DATASET_METADATA)
    metadata_folder = commit(BatchFolder(folder / "dataset_metadata"), {"all": metadata})
    return SmallCorpus(metadata, shards, metadata_folder)


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> SmallCorpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


VIT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def small_vit(folder: Path, **changes: object) -> BaseModel:
    """A transformer without batch norm, so that a batch in pieces has the gradient of the whole."""
    path = folder / "small-vit.json"
    path.write_text(json.dumps({**VIT, **changes}))
    return BaseModel(str(path))
