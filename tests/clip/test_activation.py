"""A base model is built with the activation its weights were trained with, and contradictions are errors."""

from __future__ import annotations

import json
from copy import deepcopy

import open_clip
import pytest
import torch
from open_clip import factory
from PIL import Image

from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, load_base, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.sources import ModelError
from tests.clip.small_corpus import VIT, small_vit


def differs(architecture: str, tag: str) -> bool:
    stated = open_clip.get_model_config(architecture).get("quick_gelu", False)
    return bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu", False)) != stated


DIFFERENT = [pair for pair in open_clip.list_pretrained() if differs(*pair)]
# Its configuration names QuickGELU and its tag says nothing: open_clip builds what the configuration says.
UNSAID_BY_THE_TAG = ("roberta-ViT-B-32", "laion2b_s12b_b32k")


def shrunk(architecture: str) -> dict:
    config = deepcopy(open_clip.get_model_config(architecture))
    is_resnet = isinstance(config["vision_cfg"]["layers"], list)
    small = {"layers": [1, 1, 1, 1], "width": 8} if is_resnet else {"layers": 1, "width": 32, "head_width": 16}
    config["vision_cfg"] |= {**small, "image_size": 32 if is_resnet else 2 * config["vision_cfg"]["patch_size"]}
    config["text_cfg"] |= {"layers": 1, "width": 32, "heads": 2, "context_length": 8, "vocab_size": 49408}
    config["text_cfg"] = {name: value for name, value in config["text_cfg"].items() if "tokenizer" not in name}
    return {**config, "embed_dim": 16}


@pytest.fixture
def small_registry(monkeypatch, tmp_path):
    """open_clip's names with few and narrow layers, whose tags are files of random weights."""

    def shrink(architecture: str) -> None:
        names = (architecture, f"{architecture}-quickgelu")
        configs = {name: shrunk(name) for name in names}
        monkeypatch.setattr(factory, "_MODEL_CONFIGS", configs)
        save_model(tmp_path / "random.safetensors", open_clip.create_model(architecture).state_dict())
        for module in (factory, open_clip):
            monkeypatch.setattr(module, "download_pretrained", lambda *_, **__: str(tmp_path / "random.safetensors"))

    return shrink


@pytest.mark.filterwarnings("ignore:QuickGELU mismatch")
@pytest.mark.parametrize(("architecture", "tag"), sorted({*DIFFERENT} - {UNSAID_BY_THE_TAG}), ids=lambda value: value)
def test_a_tag_is_built_with_its_own_activation(small_registry, architecture, tag):
    small_registry(architecture)
    expected, _, preprocess = open_clip.create_model_and_transforms(f"{architecture}-quickgelu", pretrained=tag)
    model, own_preprocess, _ = load_base(BaseModel(architecture, tag))
    image = Image.effect_noise((50, 40), 90).convert("RGB")
    tokens = torch.randint(1, 49000, (3, 8))
    with torch.no_grad():
        logits, own_logits = (
            m.eval()(p(image)[None], tokens)[:2] for m, p in ((expected, preprocess), (model, own_preprocess))
        )
        plain = open_clip.create_model(architecture, pretrained=tag).eval()(preprocess(image)[None], tokens)[:2]
    assert all(torch.equal(one, other) for one, other in zip(logits, own_logits, strict=True))
    assert not torch.equal(logits[1], plain[1])


def test_there_are_tags_whose_activation_differs():
    assert len(DIFFERENT) > 20


def test_what_the_configuration_says_holds_where_the_tag_says_nothing():
    assert config_of(BaseModel(*UNSAID_BY_THE_TAG), ModelOptions())["model_cfg"]["quick_gelu"] is True


@pytest.fixture
def quick_file(tmp_path):
    """Weights of a model with QuickGELU, with its configuration beside them."""
    config = config_of(small_vit(tmp_path), ModelOptions())
    config["model_cfg"]["quick_gelu"] = True
    (tmp_path / "theirs.json").write_text(json.dumps(config))
    save_model(tmp_path / "theirs.safetensors", create(config).state_dict())
    return tmp_path / "theirs.safetensors"


def test_the_configuration_beside_a_file_says_its_activation(tmp_path, quick_file):
    assert config_of(BaseModel(small_vit(tmp_path).architecture, str(quick_file)), ModelOptions())["model_cfg"][
        "quick_gelu"
    ]


def test_a_file_alone_is_believed_what_is_said_of_it(tmp_path, quick_file):
    quick_file.with_name("theirs.json").unlink()
    base = BaseModel(small_vit(tmp_path).architecture, str(quick_file), quick_gelu=True)
    activations = {type(module).__name__ for module in load_base(base)[0].modules()}
    assert "QuickGELU" in activations and "GELU" not in activations


@pytest.mark.parametrize(
    ("stated", "said", "message"),
    [
        (False, None, r"the architecture .*says GELU, the configuration beside .*theirs.safetensors says QuickGELU"),
        (None, False, r"the configuration beside .* says QuickGELU, base_clip_model.quick_gelu says GELU"),
    ],
)
def test_contradictions_are_errors(tmp_path, quick_file, stated, said, message):
    changes = {} if stated is None else {"quick_gelu": stated}
    (tmp_path / "mine.json").write_text(json.dumps({**VIT, **changes}))
    base = BaseModel(str(tmp_path / "mine.json"), str(quick_file), said)
    with pytest.raises(ModelError, match=message):
        config_of(base, ModelOptions())


def test_a_tag_is_not_overruled():
    with pytest.raises(ModelError, match=r"the tag openai says QuickGELU, base_clip_model.quick_gelu says GELU"):
        config_of(BaseModel("ViT-B-32", "openai", quick_gelu=False), ModelOptions())


def test_images_are_prepared_as_the_tag_says():
    for architecture, tag in open_clip.list_pretrained():
        expected = factory.merge_preprocess_dict(
            vars(open_clip.transform.PreprocessCfg()), open_clip.get_pretrained_cfg(architecture, tag)
        )
        found = config_of(BaseModel(architecture, tag), ModelOptions())["preprocess_cfg"]
        assert {**found, "size": None} == {**expected, "size": None}, (architecture, tag)
