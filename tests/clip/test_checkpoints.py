"""Models in and out: plain open_clip loads what is saved and exported."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from PIL import Image

from biomedica_kedro.clip.card import model_card
from biomedica_kedro.clip.checkpoints import (
    BaseModel,
    ModelError,
    base_weights,
    config_of,
    create,
    find_checkpoint,
    load_model,
    save_model,
)
from biomedica_kedro.clip.config import ModelOptions, TrainOptions
from biomedica_kedro.clip.estimate import estimate
from biomedica_kedro.clip.open_clip_folder import export_to_hub_folder, write_open_clip_folder
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
    export_to_hub_folder(folder, folder / "hub")
    loaded, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}/hub")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}/hub")(["a red field"])
    with torch.no_grad():
        assert torch.equal(loaded.encode_text(tokens), model.encode_text(tokens))
    assert preprocess(Image.new("RGB", (50, 40))).shape == (3, 32, 32)
    assert "| samples seen | 144 |" in (folder / "hub" / "README.md").read_text()


def test_open_clip_loads_the_checkpoint_folder_itself(saved):
    folder, model = saved
    (folder / "all.best.safetensors").write_bytes(b"other weights")
    weights, config = find_checkpoint(folder)
    files = write_open_clip_folder(folder, weights, config)
    loaded = open_clip.create_model(f"local-dir:{folder}")
    assert torch.equal(loaded.text_projection, model.text_projection)
    assert sorted(path.name for path in files) == ["README.md", "open_clip_config.json", "open_clip_model.safetensors"]
    assert (folder / "open_clip_model.safetensors").samefile(weights)


def test_card_that_nothing_is_known_for_must_be_given(saved):
    folder, _ = saved
    weights, config = find_checkpoint(folder)
    del config["provenance"]
    with pytest.raises(ModelError, match=r"nothing is known of how .*all.safetensors was trained"):
        write_open_clip_folder(folder / "x", weights, config)


def test_weights_are_readable_by_whom_other_files_are(saved):
    folder, _ = saved
    (folder / "other").touch()
    modes = {(folder / name).stat().st_mode for name in ("other", "all.safetensors", "all.json")}
    assert len(modes) == 1


def test_weights_of_the_best_validation_load_with_the_same_configuration(saved):
    folder, _ = saved
    best = create(find_checkpoint(folder)[1])
    save_model(folder / "all.best.safetensors", best.state_dict())
    assert torch.equal(load_model(folder / "all.best.safetensors")[0].text_projection, best.text_projection)


@pytest.mark.parametrize("damage", [slice(0, 100), slice(0, -1000), slice(9, None)], ids=["head", "cut", "shifted"])
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_damaged_weights_are_named(saved, kind, damage):
    folder, model = saved
    path = folder / f"all.{kind}"
    if kind == "pt":
        torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(ModelError, match=rf"the weights file .*all.{kind} .* cannot be read: it is damaged"):
        load_model(path)


def test_empty_file_is_named(saved):
    folder, _ = saved
    (folder / "all.pt").touch()
    with pytest.raises(ModelError, match=r"all.pt \(0 bytes\) cannot be read"):
        load_model(folder / "all.pt")


def test_checkpoint_of_another_trainer_is_read(saved):
    folder, model = saved
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, folder / "all.pt")
    assert torch.equal(load_model(folder / "all.pt")[0].text_projection, model.text_projection)


def card_of(folder: Path, **changes: object) -> tuple[dict, str]:
    _, config = find_checkpoint(folder)
    text = model_card({**config, "provenance": {**PROVENANCE, **changes}})
    return yaml.safe_load(text.split("---")[1]), text


def test_card_says_the_license_by_what_was_used(saved):
    folder, _ = saved
    free, mixed = {"commercial": 48}, {"commercial": 40, "noncommercial": 8}
    assert card_of(folder, license_groups=free)[0]["license"] == "apache-2.0"
    assert card_of(folder, license_groups=mixed)[0]["license_name"] == "terms-of-the-articles"
    assert card_of(folder)[0]["license"] == "other"
    continued, text = card_of(folder, license_groups=free, base_weights="openai")
    assert continued["license_name"] == "terms-of-the-base-model-and-of-the-articles"
    assert "The terms of the weights it started from (openai) hold" in text


def test_card_names_the_folder_it_started_from_without_its_place(saved):
    folder, _ = saved
    header, text = card_of(folder, architecture="local-dir:/home/somebody/biomed", license_groups={"commercial": 48})
    assert header["license_name"] == "terms-of-the-base-model-and-of-the-articles"
    assert "| started from | biomed |" in text and "/home/" not in text


def test_card_describes_the_data_that_was_used(saved):
    folder, _ = saved
    drawn = {"title": "Embedded corpus", "summary": "Figures that the project draws itself."}
    text = card_of(folder, data=drawn, selection="full")[1]
    assert "on Embedded corpus." in text and drawn["summary"] in text and "(selection `full`)" in text
    assert "PubMed" not in text
    assert "The source was not recorded." in card_of(folder)[1]


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
