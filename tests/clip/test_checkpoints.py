"""Models in and out: plain open_clip loads what is saved and exported."""

from __future__ import annotations

import open_clip
import pytest
import torch
from PIL import Image

from biomedica_kedro.clip.card import model_card
from biomedica_kedro.clip.checkpoints import (
    BaseModel,
    ModelError,
    base_weights,
    config_of,
    create,
    export_to_hub_folder,
    load_model,
    save_model,
)
from biomedica_kedro.clip.config import ModelOptions, TrainOptions
from biomedica_kedro.clip.estimate import estimate
from biomedica_kedro.clip.wise_ft import interpolate, sweep
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import small_vit

PROVENANCE = {
    "architecture": "small-vit", "base_weights": None, "n_training_samples": 48, "samples_seen": 144,
    "training_manifest": "d" * 64, "metrics": {"validation/image_to_text_R_at_1": 0.5},
    "options": TrainOptions().model_dump(mode="json"),
}  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    config = config_of(small_vit(tmp_path), ModelOptions(resize_mode="squash"))
    model = create(config).eval()
    save_model(tmp_path / "all.safetensors", model.state_dict())
    write_json(tmp_path / "all.json", {**config, "provenance": PROVENANCE})
    return tmp_path, model


def test_loaded_model_encodes_as_the_saved_one(saved):
    folder, model = saved
    loaded, preprocess, tokenizer = load_model(folder)
    image, tokens = preprocess(Image.new("RGB", (50, 40), "red"))[None], tokenizer(["a red field"])
    with torch.no_grad():
        assert torch.equal(loaded.encode_image(image), model.encode_image(image))
        assert torch.equal(loaded.encode_text(tokens), model.encode_text(tokens))


def test_open_clip_loads_the_exported_folder(saved):
    folder, model = saved
    card = model_card({"provenance": PROVENANCE, "model_cfg": {"text_cfg": {}}})
    export_to_hub_folder(folder / "all.safetensors", folder / "hub", card=card)
    loaded, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}/hub")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}/hub")(["a red field"])
    with torch.no_grad():
        assert torch.equal(loaded.encode_text(tokens), model.encode_text(tokens))
    assert preprocess(Image.new("RGB", (50, 40))).shape == (3, 32, 32)
    assert "| samples seen | 144 |" in (folder / "hub" / "README.md").read_text()


def test_open_clip_loads_the_weights_file_for_a_named_architecture(tmp_path):
    model = open_clip.create_model("RN50", load_weights=False)
    save_model(tmp_path / "all.safetensors", model.state_dict())
    loaded = open_clip.create_model("RN50", pretrained=str(tmp_path / "all.safetensors"))
    assert torch.equal(loaded.text_projection, model.text_projection)


def test_longer_context_interpolates_the_position_embeddings(saved):
    folder, _ = saved
    base = BaseModel(small_vit(folder).architecture, str(folder / "all.safetensors"))
    longer = create(config_of(base, ModelOptions(context_length=40)), weights=base_weights(base))
    assert longer.positional_embedding.shape == (40, 32)


def test_same_weights_give_the_same_bytes(saved):
    folder, model = saved
    save_model(folder / "again.safetensors", model.state_dict())
    assert (folder / "again.safetensors").read_bytes() == (folder / "all.safetensors").read_bytes()


def test_digest_of_a_base_follows_the_content_of_its_files(saved):
    folder, _ = saved
    base = BaseModel(small_vit(folder).architecture, str(folder / "all.safetensors"))
    before = base.digest()
    (folder / "all.safetensors").write_bytes(b"other")
    assert base.digest() != before
    assert BaseModel("biomedica-tiny").digest() == BaseModel("biomedica-tiny").digest()


def test_unknown_names_suggest_close_ones():
    with pytest.raises(ModelError, match=r"did you mean .*ViT-B-32"):
        config_of(BaseModel("ViT-B32"), ModelOptions())
    with pytest.raises(ModelError, match=r"neither a file nor a tag of ViT-B-32; its tags: .*laion2b"):
        base_weights(BaseModel("ViT-B-32", "nonsense"))


def test_interpolation_lies_between_the_two_models():
    base, trained = {"w": torch.zeros(3), "n": torch.tensor(1)}, {"w": torch.ones(3), "n": torch.tensor(2)}
    mixed = interpolate(base, trained, 0.25)
    assert mixed["w"].tolist() == [0.25] * 3
    assert mixed["n"].item() == 2
    with pytest.raises(ValueError, match=r"different architectures; they differ in \['v', 'w'\]"):
        interpolate(base, {"v": torch.ones(3), "n": torch.tensor(2)}, 0.5)


def test_sweep_takes_the_best_share():
    base, trained = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    found = sweep(base, trained, [0.0, 0.5, 1.0], lambda s: {"image_to_text_R_at_1": 1 - abs(s["w"].item() - 0.6)})
    assert found.best == 0.5
    assert sorted(found.scores) == [0.0, 0.5, 1.0]


def test_estimate_counts_operations_of_a_known_model():
    config = config_of(BaseModel("ViT-B-32"), ModelOptions())
    options = TrainOptions(steps=1000, batch_size=1000)
    expected = estimate(config, options, n_samples=500_000)
    assert expected.forward_gigaflops == pytest.approx(14.78, rel=0.03)  # open_clip docs/model_profile.csv
    assert expected.epochs == 2
    assert expected.total_exaflops == pytest.approx(3 * expected.forward_gigaflops * 1e-3)
