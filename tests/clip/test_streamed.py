"""Training on shards that others wrote, as they stream by: the same losses from any place, after any kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
import torch
from mlflow.utils.validation import _validate_metric_name

from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.selection import Recipe, SelectionError, streamed_source
from biomedica_kedro.clip.streamed import open_training
from biomedica_kedro.shards.members import KeySplit
from biomedica_kedro.shards.sources import Source, SourceError
from biomedica_kedro.shards.stream import stream
from tests.clip.small_corpus import COLORS, jpeg
from tests.clip.streamed_training import STEPS, options_of, trainer_of
from tests.shards.fault_server import serve

SCRIPT = Path(__file__).with_name("streamed_training.py")
WRITER = """
import sys, json, webdataset
from pathlib import Path
root = Path(sys.argv[1])
with webdataset.ShardWriter(str(root / "%06d.tar"), maxcount=24, verbose=0) as sink:
    for path in sorted((root / "samples").glob("*.jpg")):
        sink.write({"__key__": path.stem, "jpg": path.read_bytes(), "txt": path.with_suffix(".txt").read_text(),
                    "json": json.loads(path.with_suffix(".json").read_text())})
"""


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """96 samples in the published layout, written by webdataset, four shards; and their files."""
    root = tmp_path_factory.mktemp("published")
    (root / "samples").mkdir()
    names = list(COLORS)
    for n in range(96):
        stem = root / "samples" / f"7_PMC{n:03d}_{n}_i"
        stem.with_suffix(".jpg").write_bytes(jpeg(COLORS[names[n % 4]], n))
        stem.with_suffix(".txt").write_text("None" if n % 16 == 5 else f"A {names[n % 4]} field, sample {n}. By day.")
        stem.with_suffix(".json").write_text(json.dumps({"n": n // 4, "image_primary_label": [names[n % 4]]}))
    env = {**os.environ, "WDS_SECURE": "0"}
    subprocess.run([sys.executable, "-c", WRITER, str(root)], env=env, check=True)
    return root


@pytest.fixture(scope="session")
def uninterrupted(published, tmp_path_factory):
    return trainer_of(str(published), tmp_path_factory.mktemp("whole")).run()


def test_streamed_training_learns_validates_and_tells_what_it_read(published, tmp_path):
    log = MemoryLog()
    outcome = trainer_of(str(published), tmp_path, log=log).run()
    assert len(outcome.history) == STEPS
    assert "validation/image_to_text_R_at_1" in outcome.history[-1]
    last = log.metrics[-1][1]
    seen = next(name for name in last if name.startswith("feed/seen/"))
    assert last[seen] == STEPS * 16
    for name in last:
        _validate_metric_name(name)
    assert last["feed/read"] >= last[seen] + last["feed/left_out"] + last["feed/rejected"]
    assert min(last["feed/left_out"], last["feed/rejected"]) > 0
    assert outcome.history[-1]["epoch"] >= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_training_killed_with_sigkill_streams_on_to_the_same_losses_and_weights(
    published, uninterrupted, tmp_path, workers
):
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, SCRIPT, str(published), str(tmp_path), "stuck", str(workers)]
    process = subprocess.Popen(command, env=environment)
    while not (tmp_path / "scratch" / "step-000000003").is_dir() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    log = MemoryLog()
    resumed = trainer_of(str(published), tmp_path, log=log).run()

    assert [step for step, _ in log.metrics] == list(range(3, STEPS))
    assert resumed.history == uninterrupted.history
    for name, weight in uninterrupted.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_shards_over_http_with_faults_give_the_same_losses(published, uninterrupted, tmp_path):
    with serve(published, every=4) as server:
        streamed = trainer_of(f"{server.url}/00000{{0..3}}.tar", tmp_path).run()
    assert streamed.history == uninterrupted.history
    assert not list(tmp_path.rglob("*.tar"))


def test_two_processes_see_the_same_batches_as_one(published, tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, SCRIPT, str(published), str(tmp_path), "whole"], env=environment, check=True)
    found = orjson.loads((tmp_path / "history.json").read_bytes())
    alone = trainer_of(str(published), tmp_path / "alone").run().history
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in alone], rel=1e-4)
    assert [row["epoch"] for row in found][-1] >= 1


def test_recipe_selects_the_samples_that_stream_by(published):
    recipe = Recipe(concepts=["red", "it's"], captions_from=5, license_groups=["other"], where="n < 20")
    source = streamed_source(Source(url=str(published), where="n > 2"), recipe)
    found = list(stream(source, columns=[]))
    assert {sample.caption.split()[1] for sample in found} == {"red"}
    assert {int(sample.key[5:8]) // 4 for sample in found} == set(range(3, 20))
    assert source.balance == recipe.temperature


def test_recipe_with_a_cap_says_what_it_needs(published):
    with pytest.raises(SelectionError, match="cap 3 needs a metadata table"):
        streamed_source(Source(url=str(published)), Recipe(cap=3))


def test_caption_and_split_that_do_not_fit_say_what_was_found(published, tmp_path):
    job = options_of(str(published))
    wrong = Source(url=str(published), caption="json:caption", split=KeySplit.LAST)
    with pytest.raises(SourceError, match="the record has no text in 'caption'"):
        open_training(job.model_copy(update={"stream": job.stream.model_copy(update={"sources": [wrong]})}))
