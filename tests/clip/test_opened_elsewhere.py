"""An exported folder is opened by open_clip in an environment where this package is not installed."""

from __future__ import annotations

import torch

from biomedica_kedro.clip.checkpoints import config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.open_clip_folder import write_open_clip_folder
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import small_vit
from tests.shards.peers import borrower, read_by

ELSEWHERE = """
import json, sys
folder = sys.argv[1]
import open_clip, torch
try:
    import biomedica_kedro
except ImportError:
    pass
else:
    raise SystemExit("the package is here")
model, preprocess = open_clip.create_model_from_pretrained("local-dir:" + folder)
tokens = open_clip.get_tokenizer("local-dir:" + folder)(["a red field, seen by day"])
image = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
model.eval()
with torch.no_grad():
    print(json.dumps([tokens.tolist(), model.encode_text(tokens).tolist(), model.encode_image(image).tolist()]))
"""


def test_exported_folder_is_opened_without_this_package(tmp_path):
    config = config_of(small_vit(tmp_path, quick_gelu=True), ModelOptions(context_length=24, resize_mode="longest"))
    model = create(config).eval()
    save_model(tmp_path / "all.safetensors", model.state_dict())
    write_json(tmp_path / "all.json", config)
    write_open_clip_folder(tmp_path / "hub", tmp_path / "all.safetensors", config, card="")

    tokens, text, image = read_by(borrower("open_clip"), ELSEWHERE, tmp_path / "hub", PYTHONPATH="")

    pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(torch.tensor(text), model.encode_text(torch.tensor(tokens)), atol=1e-6)
        assert torch.allclose(torch.tensor(image), model.encode_image(pixels), atol=1e-6)
