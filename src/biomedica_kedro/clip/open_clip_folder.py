"""A trained model as a folder that plain open_clip opens: `local-dir:` here, `hf-hub:` once it is uploaded.

folder/
  open_clip_config.json         model_cfg, preprocess_cfg
  open_clip_model.safetensors
  README.md                     the model card
  tokenizer*.json               of a Hugging Face tokenizer, which open_clip looks for here
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedica_kedro.batches.files import atomic_path, write_json
from biomedica_kedro.clip.card import model_card
from biomedica_kedro.clip.checkpoints import find_checkpoint, tokenizer_of
from biomedica_kedro.clip.sources import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS

CARD = "README.md"


def export_to_hub_folder(source: Any, folder: Path, *, card: str | None = None) -> list[Path]:
    """Write a trained model as a folder of its own.

    Args:
        source: see `checkpoints.find_checkpoint`; the path of `all.best.safetensors` exports these weights.
        folder: made when absent.
        card: text of the model card; None writes it from what the configuration tells of the training.
    Returns:
        The files.
    Raises:
        ModelError: when the model is not there.
    """
    weights, config = find_checkpoint(source)
    return write_open_clip_folder(folder, weights, config, card=card)


def write_open_clip_folder(
    folder: Path, weights: Path, config: Mapping[str, Any], *, card: str | None = None
) -> list[Path]:
    """Write what open_clip looks for; weights of the same folder take no room twice.

    Args:
        folder: made when absent.
        weights: a safetensors file.
        config: its configuration, with `provenance`.
        card: see `export_to_hub_folder`.
    Returns:
        The files.
    """
    target = folder / OPEN_CLIP_WEIGHTS
    with atomic_path(target) as temporary:
        _put(weights, temporary, same=weights.parent == folder)
    write_json(folder / OPEN_CLIP_CONFIG, {name: config[name] for name in ("model_cfg", "preprocess_cfg")})
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(model_card(config) if card is None else card, encoding="utf-8")
    return [target, folder / OPEN_CLIP_CONFIG, folder / CARD, *_tokenizer_files(folder, weights.parent, config)]


def _put(weights: Path, target: Path, *, same: bool) -> None:
    if same:
        try:
            os.link(weights, target)
        except OSError:  # a file system without links
            shutil.copyfile(weights, target)
    else:
        shutil.copyfile(weights, target)


def _tokenizer_files(folder: Path, source: Path, config: Mapping[str, Any]) -> list[Path]:
    if not config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        return []
    tokenizer: Any = tokenizer_of(config, source)
    return [Path(name) for name in tokenizer.tokenizer.save_pretrained(str(folder)) if Path(name).is_file()]
