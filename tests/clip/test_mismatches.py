"""A caption that belongs to another image is found: by a model that knows better, or beside a copy of the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biomedica_kedro.clip import mismatches
from biomedica_kedro.clip.checkpoints import config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.mismatches import MismatchOptions, draw_mismatches, find_unlike_copies, least_alike
from biomedica_kedro.records import DATASET_METADATA, to_table
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import COLORS, jpeg, small_vit
from tests.engine import commit


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A model that sees an image's color and reads the color a caption names."""
    config = config_of(small_vit(tmp_path), ModelOptions())
    save_model(tmp_path / "all.safetensors", create(config).state_dict())
    write_json(tmp_path / "all.json", config)
    names = list(COLORS)

    class Knowing:
        def encode_image(self, images, normalize):
            colors = torch.tensor([COLORS[name] for name in names]).float() / 255
            mean = images.mean(dim=(2, 3)) * torch.tensor([0.2686, 0.2613, 0.2758]) + torch.tensor([0.48, 0.46, 0.41])
            return torch.softmax(-20 * torch.cdist(mean, colors), dim=1)

        def encode_text(self, texts, normalize):
            return torch.tensor([[float(name in text) for name in names] for text in texts])

    monkeypatch.setattr("biomedica_kedro.clip.checkpoints.load_model", lambda _: (Knowing(), None, list))
    return tmp_path


def samples(wrong: int | None = None) -> list[Sample]:
    names = list(COLORS)
    captions = [f"A {names[n % 4]} field, number {n}." for n in range(40)]
    if wrong is not None:
        captions[wrong] = f"A {names[(wrong + 1) % 4]} field."
    return [Sample(f"s{n}", jpeg(COLORS[names[n % 4]], n), "jpg", captions[n], {}) for n in range(40)]


def test_wrong_caption_comes_first_in_each_source(checkpoint):
    sources = {"one": samples(wrong=13), "two": samples(wrong=6)}
    found, shown = least_alike(checkpoint, sources, MismatchOptions(shown=3))
    rows = found.to_pylist()
    assert [(row["source"], row["key"]) for row in (rows[0], rows[3])] == [("one", "s13"), ("two", "s6")]
    assert rows[0]["score"] < rows[1]["score"] - 0.5
    assert "green" in rows[0]["other_caption"] and rows[0]["found_by"] == "model"
    assert [sample.key for sample in shown] == found["key"].to_pylist()


def test_unreadable_images_and_tiny_sources_are_no_error(checkpoint):
    broken = Sample("broken", b"no image", "jpg", "A red field.", {})
    found, _ = least_alike(checkpoint, {"a": [broken, *samples()], "b": samples()[:1]}, MismatchOptions(shown=2))
    assert found["source"].to_pylist() == ["a", "a"]
    assert "broken" not in found["key"].to_pylist()


def test_only_so_many_samples_are_looked_at(checkpoint):
    found, _ = least_alike(checkpoint, {"a": samples(wrong=39)}, MismatchOptions(samples=20))
    assert "s39" not in found["key"].to_pylist()


CHEST = "Chest radiograph of a man with clear lungs."


@pytest.mark.parametrize(
    ("second", "is_told"),
    [("FLAIR brain MRI, axial plane, with enlarged ventricles.", True), (f"{CHEST} Taken on day 4.", False)],
)
def test_copies_of_an_image_are_told_when_their_captions_share_few_words(tmp_path, second, is_told):
    captions = [CHEST, second, "A bar plot.", "Another."]
    rows = [
        {
            "key": f"k{n}",
            "caption": text,
            "phash": "00ff" if n < 2 else f"{n}",
            "shard": "s.tar",
            "offset": n,
            "n_bytes": 9,
        }
        for n, text in enumerate(captions)
    ]
    folder = commit(BatchFolder(tmp_path / "dataset_metadata"), {"all": to_table(rows, DATASET_METADATA)})
    found, places = find_unlike_copies(folder, "mine", MismatchOptions())
    assert found["key"].to_pylist() == (["k0", "k1"] if is_told else [])
    assert places == ([("s.tar", 0, 9), ("s.tar", 1, 9)] if is_told else [])
    assert found["other_caption"].to_pylist() == ([second, CHEST] if is_told else [])


def test_data_set_without_copies_has_none_to_tell(tmp_path):
    rows = [{"key": "k", "caption": "x", "phash": "0", "shard": "s.tar", "offset": 0, "n_bytes": 1}]
    folder = commit(BatchFolder(tmp_path / "dataset_metadata"), {"all": to_table(rows, DATASET_METADATA)})
    assert find_unlike_copies(folder, "mine", MismatchOptions()) == (mismatches.MISMATCHES.empty_table(), [])


def test_sheet_shows_every_candidate(checkpoint):
    found, shown = least_alike(checkpoint, {"one": samples(wrong=13)}, MismatchOptions(shown=5))
    axes = [ax for ax in draw_mismatches(found, shown).axes if ax.images]
    assert len(axes) == 5 and "s13" in axes[0].get_title()
    assert np.isfinite(axes[0].images[0].get_array()).all()
