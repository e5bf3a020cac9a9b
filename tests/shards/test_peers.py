"""Our shards in other people's readers."""

import json
import os
import subprocess
import sys

import pytest

from biomedica_kedro.shards.reader import read_shard
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard

SAMPLES = [
    Sample(
        f"PMC{n}_1-F{n}-0", bytes([n]) * (500 * n + 1), extension, f"Caption {n} — é 🧬", {"schema_version": 1, "n": n}
    )
    for n, extension in enumerate(["jpg", "png", "tif", "jpg"])
]


@pytest.fixture
def shard(tmp_path):
    write_shard(tmp_path / "x.tar", SAMPLES)
    return tmp_path / "x.tar"


def test_webdataset_reads_keys_bytes_captions_and_records_in_its_secure_mode(shard):
    script = """
import sys, json, webdataset
print(json.dumps([
    [s["__key__"], next(k for k in s if k in ("jpg", "png", "tif")), s["txt"].decode(), json.loads(s["json"])]
    for s in webdataset.WebDataset(sys.argv[1], shardshuffle=False)
]))
"""
    env = {**os.environ, "WDS_SECURE": "1"}
    read = subprocess.run([sys.executable, "-c", script, shard], env=env, capture_output=True, check=True, text=True)
    assert json.loads(read.stdout) == [[s.key, s.extension, s.caption, s.record] for s in SAMPLES]


def test_tar_extracts_the_members(shard, tmp_path):
    subprocess.run(["tar", "-xf", shard, "-C", tmp_path], check=True)
    assert (tmp_path / "PMC3_1-F3-0.jpg").read_bytes() == SAMPLES[3].image
    assert list(read_shard(shard)) == SAMPLES


def test_hugging_face_datasets_reads_shards_and_metadata(shard):
    datasets = pytest.importorskip("datasets", reason="HF datasets is not a dependency; benchmarks/streaming.py has it")
    rows = list(datasets.load_dataset("webdataset", data_files=str(shard), split="train", streaming=True))
    assert [row["__key__"] for row in rows] == [s.key for s in SAMPLES]
