"""Our shards in other people's readers, one by one; test_published has the whole folder.

webdataset and open_clip are dependencies. The older webdataset that open_clip's training loader needs, and HF datasets,
live in environments of their own; see `peers`.
"""

import io
import subprocess
import sys

import pytest
from PIL import Image

from biomedica_kedro.shards.reader import read_shard
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard
from biomedica_kedro.stages import BatchFolder

from .conftest import Corpus, figures
from .peers import overlay, peer, read_by

SAMPLES = [
    Sample(
        f"PMC{n}_1-F{n}-0", bytes([n]) * (500 * n + 1), extension, f"Caption {n} — é 🧬", {"schema_version": 1, "n": n}
    )
    for n, extension in enumerate(["jpg", "png", "tif", "jpg"])
]

# open_clip's own loader, by its own code: images become squares, captions the tokens of a stand-in tokenizer
OPEN_CLIP = """
import sys, json, torch
from types import SimpleNamespace
from open_clip import image_transform
from open_clip_train.data import get_wds_dataset

kind, shard, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
args = SimpleNamespace(
    train_data=shard, val_data=shard, train_num_samples=n, val_num_samples=n, batch_size=2, workers=0, world_size=1,
    seed=0, dataset_resampled=False, train_data_upsampling_factors=None,
)
captions = []
tokenizer = lambda text: captions.append(text) or torch.zeros(1, 4)
loader = get_wds_dataset(args, image_transform(32, is_train=False), kind == "train", tokenizer=tokenizer).dataloader
shapes = [list(image.shape) for images, _ in loader for image in images]
print(json.dumps([sorted(set(captions)), shapes]))
"""
HUGGING_FACE = """
import sys, json, datasets
kind, files = sys.argv[1], sys.argv[2]
rows = datasets.load_dataset(kind, data_files=files, split="train", streaming=True)
shown = {"webdataset": ["__key__", "txt", "json"], "parquet": ["key", "caption", "primary_labels", "offset"]}[kind]
print(json.dumps([[row[name] for name in shown] for row in rows]))
"""


@pytest.fixture
def shard(tmp_path):
    write_shard(tmp_path / "x.tar", SAMPLES)
    return tmp_path / "x.tar"


@pytest.fixture
def pictures(tmp_path):
    """A shard of four images that open."""
    samples = [Sample(f"s{n}", picture(n), "jpg", f"Caption {n}", {"schema_version": 1}) for n in range(4)]
    write_shard(tmp_path / "pictures.tar", samples)
    return tmp_path / "pictures.tar"


def picture(n):
    file = io.BytesIO()
    Image.new("RGB", (40 + n, 30), (60 * n, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def test_webdataset_reads_keys_bytes_captions_and_records_in_its_secure_mode(shard):
    script = """
import sys, json, webdataset
print(json.dumps([
    [s["__key__"], next(k for k in s if k in ("jpg", "png", "tif")), s["txt"].decode(), json.loads(s["json"])]
    for s in webdataset.WebDataset(sys.argv[1], shardshuffle=False)
]))
"""
    assert read_by(sys.executable, script, shard) == [[s.key, s.extension, s.caption, s.record] for s in SAMPLES]


def test_tar_extracts_the_members(shard, tmp_path):
    subprocess.run(["tar", "-xf", shard, "-C", tmp_path], check=True)
    assert (tmp_path / "PMC3_1-F3-0.jpg").read_bytes() == SAMPLES[3].image
    assert list(read_shard(shard)) == SAMPLES


def test_open_clips_evaluation_loader_reads_images_and_captions(pictures):
    # webdataset 1.0 opens no local file for it in the secure mode
    captions, shapes = read_by(sys.executable, OPEN_CLIP, "evaluation", pictures, 4, WDS_SECURE="0")
    assert captions == [f"Caption {n}" for n in range(4)]
    assert shapes == [[3, 32, 32]] * 4


def test_open_clips_training_loader_reads_images_and_captions(pictures):
    captions, shapes = read_by(sys.executable, OPEN_CLIP, "train", pictures, 4, PYTHONPATH=overlay("webdataset_before"))
    assert captions == [f"Caption {n}" for n in range(4)]
    assert shapes == [[3, 32, 32]] * 4


def test_hugging_face_webdataset_builder_reads_shards(pictures):
    rows = read_by(peer("datasets_newest"), HUGGING_FACE, "webdataset", pictures)
    assert rows == [[f"s{n}", f"Caption {n}", {"schema_version": 1}] for n in range(4)]


def test_hugging_face_parquet_builder_reads_the_metadata_table(serialize, tmp_path):
    metadata: BatchFolder = serialize(Corpus(figures(range(4))), tmp_path)["dataset_metadata"]
    rows = read_by(peer("datasets_newest"), HUGGING_FACE, "parquet", metadata.path / "*.parquet")
    wanted = metadata.table(columns=["key", "caption", "primary_labels", "offset"]).to_pylist()
    assert sorted(rows) == sorted(list(row.values()) for row in wanted)
