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


def bert_files(folder: Path) -> None:
    """A small BERT's configuration and tokenizer, as a repository of the hub holds them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: place for place, word in enumerate(words)}
    fast = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    fast.normalizer, fast.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    fast.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    BertTokenizerFast(tokenizer_object=fast, vocab=vocabulary).save_pretrained(str(folder))
    BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    ).save_pretrained(str(folder))  # fmt: skip


def biomedclip_config(bert: str) -> dict:
    """BiomedCLIP's shape: an image tower of timm, a text tower and tokenizer of Hugging Face."""
    return {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "",
            "timm_proj": "linear", "image_size": 32,
        },
        "text_cfg": {
            "hf_model_name": bert, "hf_tokenizer_name": bert, "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 24,
        },
    }  # fmt: skip
