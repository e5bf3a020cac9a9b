"""A trained model as a folder that plain open_clip opens: `local-dir:` here, `hf-hub:` once it is uploaded.

folder/
  open_clip_config.json         model_cfg, preprocess_cfg
  open_clip_model.safetensors
  README.md                     the model card
  tokenizer*.json               of a Hugging Face tokenizer, which open_clip looks for here
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedica_kedro.clip.card import model_card
from biomedica_kedro.clip.checkpoints import find_checkpoint, tokenizer_of
from biomedica_kedro.clip.sources import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, ModelError
from biomedica_kedro.stages.files import atomic_path, link_or_copy, write_json

CARD = "README.md"
_OF_TOKENIZERS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip


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
    folder: Path,
    weights: Path,
    config: Mapping[str, Any],
    *,
    card: str | None = None,
    tokenizer_from: Path | None = None,
) -> list[Path]:
    """Write what open_clip looks for; weights of the same folder take no room twice.

    Args:
        folder: made when absent.
        weights: a safetensors file.
        config: its configuration, with `provenance`.
        card: see `export_to_hub_folder`.
        tokenizer_from: folder that may hold the files of a Hugging Face tokenizer; None: that of the weights.
    Returns:
        The files.
    Raises:
        ModelError: when nothing is known to write a card from, or the tokenizer is not found.
    """
    if card is None and "provenance" not in config:
        raise ModelError(f"nothing is known of how {weights} was trained: give the text of its card")
    target = folder / OPEN_CLIP_WEIGHTS
    with atomic_path(target) as temporary:
        (link_or_copy if weights.parent == folder else shutil.copyfile)(weights, temporary)
    write_json(folder / OPEN_CLIP_CONFIG, {name: config[name] for name in ("model_cfg", "preprocess_cfg")})
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(model_card(config) if card is None else card, encoding="utf-8")
    if config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        tokenizer: Any = tokenizer_of(config, tokenizer_from or weights.parent)
        tokenizer.tokenizer.save_pretrained(str(folder))
    return open_clip_files(folder)


def open_clip_files(folder: Path) -> list[Path]:
    """The files of a folder that `write_open_clip_folder` may have written."""
    names = (OPEN_CLIP_WEIGHTS, OPEN_CLIP_CONFIG, CARD, *_OF_TOKENIZERS)
    return [folder / name for name in names if (folder / name).is_file()]
