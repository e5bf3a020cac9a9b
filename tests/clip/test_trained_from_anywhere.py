"""A small model on shards by every writer, from every place, killed at some step: the losses of one quiet run."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from biomedica_kedro.clip.config import CheckpointOptions, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.streamed import open_training
from biomedica_kedro.clip.train import Trainer
from biomedica_kedro.shards.sources import Source, StreamOptions
from tests.clip.small_corpus import COLORS, jpeg, small_vit
from tests.shards.fault_server import serve
from tests.shards.peers import overlay, peer

STEPS, SHARDS, PER_SHARD = 6, 3, 16
WEBDATASET = """
import sys, json, webdataset
from pathlib import Path
root = Path(sys.argv[1])
with webdataset.ShardWriter(str(root / "%06d.tar"), maxcount=16, verbose=0) as sink:
    for path in sorted(root.glob("*/*.jpg")):
        sink.write({"__key__": path.stem, "jpg": path.read_bytes(), "txt": path.with_suffix(".txt").read_text(),
                    "json": json.loads(path.with_suffix(".json").read_text())})
"""
IMG2DATASET = """
import sys, json, pyarrow as pa
from pathlib import Path
from img2dataset.writer import WebDatasetSampleWriter
root = Path(sys.argv[1])
schema = pa.schema([("key", pa.string()), ("caption", pa.string()), ("status", pa.string())])
for number, folder in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
    writer = WebDatasetSampleWriter(number, str(root), True, 6, schema, "jpg")
    for path in sorted(folder.glob("*.jpg")):
        caption = path.with_suffix(".txt").read_text()
        meta = {"key": path.stem, "caption": caption, "status": "success"}
        writer.write(path.read_bytes(), path.stem, caption, meta)
    writer.close()
"""


def by_script(root: Path, script: str, python: Path | str = sys.executable, **environment: object) -> None:
    # webdataset 1.0 opens no local file in the secure mode
    env = {**os.environ, "WDS_SECURE": "0", **{name: str(value) for name, value in environment.items()}}
    subprocess.run([str(python), "-c", script, str(root)], env=env, check=True)


def by_program(root: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    for number in range(SHARDS):
        names = sorted(path.name for path in (root / f"{number}").iterdir())
        subprocess.run([program, "-cf", root / f"{number:06d}.tar", "-C", root / f"{number}", *names], check=True)


WRITERS = {
    "webdataset 1.0": lambda root: by_script(root, WEBDATASET),
    "webdataset 0.2": lambda root: by_script(root, WEBDATASET, PYTHONPATH=overlay("webdataset_before")),
    "img2dataset": lambda root: by_script(root, IMG2DATASET, peer("img2dataset")),
    "GNU tar": lambda root: by_program(root, "tar"),
    "bsdtar": lambda root: by_program(root, "bsdtar"),
}


@pytest.fixture(scope="session", params=list(WRITERS))
def written(request, tmp_path_factory):
    """Three shards of 16 samples and the losses of a training on them from their folder."""
    root = tmp_path_factory.mktemp("written")
    names = list(COLORS)
    for n in range(SHARDS * PER_SHARD):
        stem = root / f"{n // PER_SHARD}" / f"{n:09d}"
        stem.parent.mkdir(exist_ok=True)
        stem.with_suffix(".jpg").write_bytes(jpeg(COLORS[names[n % 4]], n))
        stem.with_suffix(".txt").write_text(f"A {names[n % 4]} field, sample {n}.")
        stem.with_suffix(".json").write_text(json.dumps({"n": n}))
    WRITERS[request.param](root)
    shards = tmp_path_factory.mktemp("shards")
    for path in root.glob("*.tar"):
        path.rename(shards / path.name)
    assert len(list(shards.iterdir())) == SHARDS
    quiet = trainer_of(Source(url=str(shards)), tmp_path_factory.mktemp("quiet")).run()
    return request.param, shards, quiet.history


def trainer_of(source: Source, folder: Path, log: MemoryLog | None = None) -> Trainer:
    """Six steps of 8 samples on 4 lanes, with a checkpoint every other step."""
    options = TrainOptions(
        steps=STEPS, batch_size=8, threads=1, optimizer=OptimizerOptions(warmup_steps=1),
        checkpoints=CheckpointOptions(every=2, validate_every=STEPS),
        stream=StreamOptions(lanes=4, window=5, stall=5, sources=[source]),
    )  # fmt: skip
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Trainer(
        base=small_vit(folder), options=options, training=open_training(options), validation=None, scratch=scratch,
        log=log or MemoryLog(),
    )  # fmt: skip


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class KillingLog(MemoryLog):
    """Ends the training at a step."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Kill."""
        if step == self.at:
            raise KilledError


@pytest.fixture(scope="module")
def moto():
    """Endpoint of moto's S3, and a client of it."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    yield endpoint, keys, boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    server.stop()


@pytest.fixture(params=["folder", "http", "s3", "hub"])
def place(request, written, tmp_path):
    """The source of the written shards at a place, whose answers fail every fifth time where that can be asked for."""
    writer, shards, _ = written
    if request.param == "folder":
        yield Source(url=f"{shards}/*.tar")
    elif request.param == "http":
        with serve(shards, every=5) as server:
            yield Source(url=f"{server.url}/{{000000..000002}}.tar")
    elif request.param == "s3":
        endpoint, keys, client = request.getfixturevalue("moto")
        bucket = writer.lower().replace(" ", "-")
        client.create_bucket(Bucket=bucket)
        for path in shards.iterdir():
            client.put_object(Bucket=bucket, Key=f"deep/{path.name}", Body=path.read_bytes())
        config = {"aws_endpoint": endpoint, "aws_region": "us-east-1", "aws_virtual_hosted_style_request": "false"}
        yield Source(url=f"s3://{bucket}/deep", storage={"config": config | keys})
    else:
        files = tmp_path / "hub" / "datasets" / "them" / "pairs" / "resolve" / "v1"
        files.parent.mkdir(parents=True)
        shutil.copytree(shards, files / "train")
        with serve(tmp_path / "hub", every=5) as server:
            url = "hf://datasets/them/pairs@v1/train/{000000..000002}.tar"
            yield Source(url=url, storage={"endpoint": server.url, "token": "secret"})


def test_training_killed_at_some_step_ends_with_the_losses_of_the_quiet_one(written, place, tmp_path):
    writer, _, quiet = written
    step = random.Random(f"{writer} {place.label}").randrange(1, STEPS)
    start = functools.partial(trainer_of, place, tmp_path)
    with pytest.raises(KilledError):
        start(KillingLog(step)).run()
    log = MemoryLog()
    resumed = start(log).run()
    assert resumed.history == quiet
    assert [step for step, _ in log.metrics] == list(range(step // 2 * 2, STEPS))
