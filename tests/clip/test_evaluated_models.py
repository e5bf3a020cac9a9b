"""Every way to name a model for the evaluation gives that model, and a digest of its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biomedica_kedro.benchmark.models import ModelChoice, ModelSource
from biomedica_kedro.clip.checkpoints import config_of, create, find_checkpoint, load_model, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.encoder import OpenClipEncoder
from biomedica_kedro.clip.open_clip_folder import export_to_hub_folder
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.encoders import ModelHandle, encoder_of
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import small_vit

TEXTS = ["a red field"]


@pytest.fixture
def checkpoint(tmp_path):
    config = config_of(small_vit(tmp_path), ModelOptions())
    folder = tmp_path / "clip_checkpoint"
    for seed, name in enumerate(("all", "all.best"), start=5):
        torch.manual_seed(seed)
        save_model(folder / f"{name}.safetensors", create(config).state_dict())
    write_json(folder / "all.json", config)
    return BatchFolder(folder)


def handle(checkpoint: BatchFolder, source: ModelSource, **named: str) -> ModelHandle:
    return ModelHandle(ModelChoice(id="m", source=source, **named), checkpoint)


def vector(given: ModelHandle) -> np.ndarray:
    return encoder_of(given).encode_texts(TEXTS)


def test_an_exported_folder_is_evaluated_as_the_checkpoint_is(checkpoint, tmp_path):
    export_to_hub_folder(checkpoint, tmp_path / "hub", card="")
    exported = handle(checkpoint, ModelSource.OPEN_CLIP, architecture=f"local-dir:{tmp_path / 'hub'}")
    by_path = handle(checkpoint, ModelSource.CHECKPOINT, weights=str(checkpoint.path))
    of_the_folder = handle(checkpoint, ModelSource.CHECKPOINT, weights=str(tmp_path / "hub"))
    assert np.array_equal(vector(exported), vector(by_path))
    assert np.array_equal(vector(of_the_folder), vector(by_path))
    assert of_the_folder.weights() == by_path.weights()


def test_the_best_weights_are_a_model_of_their_own(checkpoint):
    last, best = (
        handle(checkpoint, ModelSource.CHECKPOINT, weights=str(checkpoint.path / f"{name}.safetensors"))
        for name in ("all", "all.best")
    )
    assert not np.array_equal(vector(last), vector(best))
    assert last.digest() != best.digest() and last.weights() != best.weights()


def test_the_digest_follows_the_content_of_a_folder(checkpoint, tmp_path):
    export_to_hub_folder(checkpoint, tmp_path / "hub", card="")
    given = handle(checkpoint, ModelSource.OPEN_CLIP, architecture=f"local-dir:{tmp_path / 'hub'}")
    before = given.digest()
    export_to_hub_folder(checkpoint.path / "all.best.safetensors", tmp_path / "hub", card="")
    assert given.digest() != before


def test_untrained_twin_has_the_architecture_and_not_the_weights(checkpoint):
    trained = handle(checkpoint, ModelSource.CHECKPOINT, weights=str(checkpoint.path))
    twin = handle(checkpoint, ModelSource.UNTRAINED, weights=str(checkpoint.path / "all.best.safetensors"))
    assert vector(twin).shape == vector(trained).shape
    assert not np.array_equal(vector(twin), vector(trained))


def test_a_model_without_a_place_says_what_to_name():
    with pytest.raises(ValueError, match=r"needs `architecture` and `weights`, or .* \(local-dir:path\)"):
        ModelChoice(id="m", source=ModelSource.OPEN_CLIP, architecture="ViT-B-32")


def test_folder_whose_weights_are_not_clear_is_named(checkpoint, tmp_path):
    export_to_hub_folder(checkpoint, tmp_path / "hub", card="")
    (tmp_path / "hub" / "open_clip_model.safetensors").rename(tmp_path / "hub" / "one.safetensors")
    (tmp_path / "hub" / "two.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"which weights to take of .*hub is not clear, found one.*, two"):
        find_checkpoint(tmp_path / "hub")


def test_captions_of_512_tokens_are_read_to_their_end(tmp_path):
    """Two captions that differ in their last words alone, some 300 words in."""
    shared = "the section shows cells of the liver " * 43
    vectors = {}
    for length in (77, 512):
        config = config_of(small_vit(tmp_path), ModelOptions(context_length=length))
        torch.manual_seed(0)
        weights = tmp_path / f"{length}.safetensors"
        save_model(weights, create(config).state_dict())
        write_json(weights.with_suffix(".json"), config)
        encoder = OpenClipEncoder(*load_model(weights))
        vectors[length] = encoder.encode_texts([shared + "with necrosis", shared + "without fat"])
    assert np.array_equal(*vectors[77])
    assert not np.allclose(*vectors[512], atol=1e-4)
