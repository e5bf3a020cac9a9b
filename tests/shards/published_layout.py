"""Synthetic samples as BIOMEDICA published its own: webdataset's TarWriter, members sorted, 27 fields.

Keys are `{batch}-{PMCID}-{position}-{image_id}`; one caption in 16 is the word None.
Source: arXiv 2501.07171 and its code for serialization.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

LABELS = ("Microscopy", "Plots and Charts", "Clinical Imaging", "Chemical Structures")
COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "grey": (120, 120, 120)}
LICENSES = ("CC BY", "CC0", "CC BY-SA", "CC BY-ND")
_FIGURES_AN_ARTICLE = 4


def shards(n_samples: int, per_shard: int, side: int = 96) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each shard, one at a time in memory."""
    for number, first in enumerate(range(0, n_samples, per_shard)):
        numbers = range(first, min(first + per_shard, n_samples))
        yield f"{number:06d}.tar", shard(numbers, side)


def shard(numbers: range, side: int = 96) -> bytes:
    """A shard of samples by their numbers."""
    from webdataset import TarWriter

    file = io.BytesIO()
    with TarWriter(file, encoder=False) as writer:
        for number in numbers:
            writer.write(sample(number, side))
    return file.getvalue()


def sample(number: int, side: int) -> dict[str, Any]:
    """Members of a sample; encoded."""
    article = 9_000_000 + number // _FIGURES_AN_ARTICLE
    names, label = list(COLORS), LABELS[max(0, number % 7 - 3)]
    name = names[number % 4]
    caption = "None" if number % 16 == 5 else f"A {name} field under the lens, specimen {number}. Bar 10 µm."
    image_id = f"gr{number}"
    return {
        "__key__": f"{number // 1000}-PMC{article}-{number % _FIGURES_AN_ARTICLE}-{image_id}",
        "jpg": picture(COLORS[name], number, side), "txt": caption.encode(),
        "json": json.dumps(record(number, article, image_id, label, side)).encode(),
    }  # fmt: skip


def record(number: int, article: int, image_id: str, label: str, side: int) -> dict[str, Any]:
    """The 25 fields of the record."""
    return {
        "image_file_name": f"{image_id}.jpg", "image_cluster_id": image_id, "image_hash": f"{number:064x}",
        "image_label_id": str(number % 2000), "image_panel_type": "single", "image_panel_subtype": "single panel",
        "image_primary_label": [label], "image_secondary_label": ["light microscopy"], "image_size": [side, side],
        "image_set": [{"image_id": image_id}], "image_context": {image_id: [f"As Fig. {number} shows."]},
        "article_title": f"On fields, part {article}", "article_journal": "J Fields", "article_date": "1674604800",
        "article_abstract": "Fields were seen.", "article_mesh_terms": ["Humans"], "article_keywords": ["field"],
        "article_reference_ids": [""], "article_reference_count": 0, "article_reference_list": [""],
        "article_subject": ["Research Article"], "article_citation": "J Fields. 2023 Jan 25; 1:1",
        "article_license": LICENSES[article % 4], "article_text": "Fields were seen. " * 40,
        "article_accession_id": f"PMC{article}",
    }  # fmt: skip


def picture(color: tuple[int, int, int], seed: int, side: int) -> bytes:
    """A JPEG of a color with some texture."""
    noise = np.random.default_rng(seed).integers(-30, 30, (8, 8, 3))
    small = np.clip(np.asarray(color) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR).save(file, "JPEG", quality=75)
    return file.getvalue()
