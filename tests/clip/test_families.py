"""What cannot be trained is refused by name before a run begins, with what to set instead."""

from __future__ import annotations

import pytest

from biomedica_kedro.clip import families
from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions, Objective, TrainOptions
from biomedica_kedro.clip.families import check_trainable, family
from biomedica_kedro.clip.images import Geometry
from biomedica_kedro.clip.sources import ModelError
from tests.clip.small_corpus import small_vit
from tests.clip.small_models import COCA, written

SIGLIP = TrainOptions(objective=Objective.SIGLIP)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("ViT-B-32", "ViT"), ("RN50", "ResNet"), ("convnext_tiny", "ConvNeXt"), ("ViT-B-16-SigLIP", "SigLIP"),
        ("coca_ViT-B-32", "CoCa"), ("xlm-roberta-base-ViT-B-32", "text tower of Hugging Face"),
        ("swin_base_patch4_window7_224", "image tower of timm"), ("biomedica-tiny", "ResNet"),
    ],
)  # fmt: skip
def test_a_family_is_told_by_the_configuration(architecture, expected):
    assert family(config_of(BaseModel(architecture), ModelOptions())) == expected


def test_sigmoid_loss_without_a_bias_says_what_to_set(tmp_path):
    base = small_vit(tmp_path)
    with pytest.raises(ModelError, match=r"set train_clip\.model\.logit_bias \(SigLIP's authors start at -10\)"):
        check_trainable(config_of(base, ModelOptions()), SIGLIP)
    check_trainable(config_of(base, ModelOptions(logit_bias=-10)), SIGLIP)


def test_wished_bias_is_that_of_the_model_though_the_weights_have_none(tmp_path):
    base = small_vit(tmp_path)
    save_model(tmp_path / "w.safetensors", create(config_of(base, ModelOptions())).state_dict())
    config = config_of(BaseModel(base.architecture, str(tmp_path / "w.safetensors")), ModelOptions(logit_bias=-10))
    assert create(config, weights=tmp_path / "w.safetensors").logit_bias.item() == -10


def test_bias_that_was_learned_is_kept(tmp_path):
    base = small_vit(tmp_path, init_logit_bias=-3)
    save_model(tmp_path / "w.safetensors", create(config_of(base, ModelOptions())).state_dict())
    config = config_of(base, ModelOptions(logit_bias=-10))
    assert create(config, weights=tmp_path / "w.safetensors").logit_bias.item() == -3


def test_coca_with_a_text_tower_of_hugging_face_is_refused(monkeypatch):
    monkeypatch.setattr(families, "find_spec", lambda _: object())
    with pytest.raises(ModelError, match="CoCa whose text tower is roberta-base cannot be trained"):
        check_trainable(config_of(BaseModel("coca_roberta-ViT-B-32"), ModelOptions()), TrainOptions())


def test_missing_transformers_names_the_extra(monkeypatch):
    monkeypatch.setattr(families, "find_spec", lambda _: None)
    config = config_of(BaseModel("ViT-B-16-SigLIP"), ModelOptions())
    with pytest.raises(ModelError, match=r"\(timm/ViT-B-16-SigLIP\) needs .*pip install 'biomedica-kedro\[text-tow"):
        check_trainable(config, SIGLIP)


def test_oblong_images_are_refused(tmp_path):
    config = config_of(small_vit(tmp_path), ModelOptions())
    config["preprocess_cfg"]["size"] = [32, 48]
    with pytest.raises(ModelError, match="images of 32 x 48 pixels"):
        check_trainable(config, TrainOptions())


@pytest.mark.parametrize(
    ("base", "interpolation"), [(("PE-Core-B-16", "meta"), "bilinear"), (("ViT-B-32", "openai"), "bicubic")]
)
def test_images_are_resized_as_for_the_base(base, interpolation):
    config = config_of(BaseModel(*base), ModelOptions())
    check_trainable(config, TrainOptions())
    assert Geometry.of(config["preprocess_cfg"]).interpolation == interpolation


def test_interpolation_drawn_at_random_is_refused(tmp_path):
    config = config_of(small_vit(tmp_path), ModelOptions())
    config["preprocess_cfg"]["interpolation"] = "random"
    with pytest.raises(ModelError, match="by random interpolation, training knows bicubic and bilinear"):
        check_trainable(config, TrainOptions())


def test_random_weights_of_a_coca_are_all_set(tmp_path):
    decoder = create(config_of(written(tmp_path, "coca", COCA), ModelOptions())).text_decoder
    assert decoder.text_projection.std().item() == pytest.approx(decoder.width**-0.5, rel=0.05)


def test_context_of_a_coca_is_that_of_both_its_text_parts(tmp_path):
    model = config_of(written(tmp_path, "coca", COCA), ModelOptions(context_length=40))["model_cfg"]
    assert (model["text_cfg"]["context_length"], model["multimodal_cfg"]["context_length"]) == (40, 40)
