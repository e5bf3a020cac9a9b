"""Models named on the hub are fetched and built as the same files in a folder are; what is missing there is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

pytest.importorskip("transformers", reason="the extra `text-towers` is not installed")

from biomedica_kedro.clip.checkpoints import config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.open_clip_folder import write_open_clip_folder
from biomedica_kedro.clip.sources import OPEN_CLIP_CONFIG
from tests.clip.hub_standin import hub
from tests.clip.small_models import bert_files, biomedclip_config, written

USER = Path(__file__).with_name("hub_user.py")


def test_model_of_biomedclips_shape_is_taken_from_the_hub(tmp_path):
    bert_files(tmp_path / "us" / "bert")
    config = config_of(written(tmp_path, "biomed", biomedclip_config(str(tmp_path / "us" / "bert"))), ModelOptions())
    save_model(tmp_path / "all.safetensors", create(config).state_dict())
    # On the hub, the text tower and the tokenizer are named by a repository of their own.
    theirs, unweighted = tmp_path / "them" / "biomed", tmp_path / "them" / "unweighted"
    write_open_clip_folder(theirs, tmp_path / "all.safetensors", config, card="")
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": "us/bert", "hf_tokenizer_name": "us/bert"}
    (theirs / OPEN_CLIP_CONFIG).write_bytes(orjson.dumps(config))
    unweighted.mkdir()
    shutil.copyfile(theirs / OPEN_CLIP_CONFIG, unweighted / OPEN_CLIP_CONFIG)

    with hub(tmp_path) as address:
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0", "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        subprocess.run([sys.executable, USER, tmp_path], env=environment, check=True, timeout=550)
    found = orjson.loads((tmp_path / "found.json").read_bytes())

    assert found["hf-hub"] == found["local-dir"]
    assert np.linalg.norm(found["hf-hub"][0]) == pytest.approx(1, abs=1e-5)
    assert "open_clip_config.json of hf-hub:them/nothing can be neither fetched nor found" in found["them/nothing"]
    assert "weights of hf-hub:them/unweighted can be neither fetched nor found" in found["them/unweighted"]
