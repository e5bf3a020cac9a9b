"""One small model with random weights of every family that open_clip lists."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

from biomedica_kedro.clip.checkpoints import BaseModel
from tests.clip.small_corpus import VIT

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
COCA = {
    "embed_dim": 32,
    "vision_cfg": {
        **VIT["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
        "attn_pooler_queries": 4,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "dim_head": 16, "attn_pooler_heads": 2},
    "custom_text": True,
}  # fmt: skip


def written(folder: Path, name: str, config: dict) -> BaseModel:
    """A base whose configuration is a file of the folder."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(deepcopy(config)))
    return BaseModel(str(path))
