"""An exported folder is opened by open_clip where this package cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys

import torch

from biomedica_kedro.clip.checkpoints import config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.open_clip_folder import write_open_clip_folder
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import small_vit

# No environment variables (-I), no site (-S) and so no editable installs: open_clip alone is put on the path.
ELSEWHERE = """
import importlib.util, json, sys
folder, *paths = sys.argv[1:]
sys.path += paths
sys.modules["biomedica_kedro"] = None
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

    paths = [path for path in sys.path if path.endswith("-packages")]
    command = [sys.executable, "-I", "-S", "-c", ELSEWHERE, tmp_path / "hub", *paths]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=550)

    assert done.returncode == 0, done.stderr[-2000:]
    tokens, text, image = json.loads(done.stdout.splitlines()[-1])
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(torch.tensor(text), model.encode_text(torch.tensor(tokens)), atol=1e-6)
        assert torch.allclose(torch.tensor(image), model.encode_image(pixels), atol=1e-6)
