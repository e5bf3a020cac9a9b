"""Which kind of model a configuration describes, and what cannot be trained: said by name, before a run begins."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from biomedica_kedro.clip.config import Objective, TrainOptions
from biomedica_kedro.clip.sources import BICUBIC, INTERPOLATIONS, ModelError

EXTRA = "text-towers"


def family(config: Mapping[str, Any]) -> str:
    """The kind of a model, as docs/how-to/train.md lists them.

    Args:
        config: open_clip's configuration, `model_cfg` within.
    """
    model = config["model_cfg"]
    vision, text = model["vision_cfg"], model["text_cfg"]
    if "multimodal_cfg" in model:
        return "CoCa"
    if "hf_model_name" in text:
        return "text tower of Hugging Face"
    tower = vision.get("timm_model_name")
    if tower and (model.get("init_logit_bias") is not None or "siglip" in tower):
        return "SigLIP"
    if tower:
        return "ConvNeXt" if "convnext" in tower else "image tower of timm"
    return "ResNet" if isinstance(vision.get("layers"), list | tuple) else "ViT"


def check_trainable(config: Mapping[str, Any], options: TrainOptions) -> None:
    """Refuse what cannot be trained as it is configured.

    Args:
        config: see `checkpoints.config_of`.
        options: of the run.
    Raises:
        ModelError: says what cannot be trained, and what to set.
    """
    model = config["model_cfg"]
    text = model["text_cfg"]
    check_installed(text)
    if options.objective is Objective.SIGLIP and model.get("init_logit_bias") is None:
        raise ModelError(
            "objective: siglip needs a bias of the similarities, which this architecture has not: set "
            "train_clip.model.logit_bias (SigLIP's authors start at -10), or take objective: info_nce"
        )
    if "multimodal_cfg" in model and "hf_model_name" in text:
        raise ModelError(
            f"a CoCa whose text tower is {text['hf_model_name']} cannot be trained: the loss of its captions would "
            "count the padding; take a CoCa with open_clip's own text tower (coca_ViT-B-32, coca_ViT-L-14)"
        )
    size = config["preprocess_cfg"]["size"]
    if not isinstance(size, int) and len(set(size)) != 1:
        raise ModelError(f"the architecture takes images of {size[0]} x {size[1]} pixels: only squares are trained on")
    interpolation = config["preprocess_cfg"].get("interpolation", BICUBIC)
    if interpolation not in INTERPOLATIONS:
        raise ModelError(
            f"the base's images were resized by {interpolation} interpolation, training knows "
            f"{' and '.join(INTERPOLATIONS)}: set preprocess_cfg.interpolation in the base's open_clip_config.json"
        )


def check_installed(text_cfg: Mapping[str, Any]) -> None:
    """Tell which extra a text tower or tokenizer of Hugging Face needs.

    Raises:
        ModelError: when transformers is needed and not installed.
    """
    needing = text_cfg.get("hf_model_name") or text_cfg.get("hf_tokenizer_name")
    if needing and find_spec("transformers") is None:
        raise ModelError(
            f"the text side of this model ({needing}) needs the package transformers: install the extra `{EXTRA}` "
            f"(pip install 'biomedica-kedro[{EXTRA}]')"
        )
