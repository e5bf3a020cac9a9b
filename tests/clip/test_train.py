"""A killed training goes on as if it had not been; what cannot go on says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from biomedica_kedro.clip.checkpoints import ModelError, load_model
from biomedica_kedro.clip.config import (
    AugmentationOptions,
    CheckpointOptions,
    FeedOptions,
    OptimizerOptions,
    Precision,
    TextSource,
    TrainOptions,
)
from biomedica_kedro.clip.feed import FeedError, Places
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.selection import SelectionOptions, select_samples
from biomedica_kedro.clip.state import StateError
from biomedica_kedro.clip.train import Trainer, TrainingError
from biomedica_kedro.records import Split
from tests.clip.small_corpus import SmallCorpus, make_corpus, small_vit
from tests.clip.two_processes import run_two_processes

WORKER = Path(__file__).with_name("killed_worker.py")
SHARDED_WORKER = Path(__file__).with_name("sharded_worker.py")
OPTIONS = TrainOptions(
    steps=9,
    batch_size=16,
    threads=1,
    average_decay=0.9,
    optimizer=OptimizerOptions(warmup_steps=2, layer_decay=0.9),
    augmentation=AugmentationOptions(crop_scale=0.8, text={TextSource.CAPTION: 1, TextSource.SENTENCE: 1}),
    checkpoints=CheckpointOptions(every=3, validate_every=3),
)


def trainer(
    corpus: SmallCorpus, folder: Path, options: TrainOptions = OPTIONS, log: MemoryLog | None = None
) -> Trainer:
    manifest, _ = select_samples(corpus.metadata, SelectionOptions())
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Trainer(
        base=small_vit(folder),
        options=options,
        training=Places.of(manifest, Split.TRAIN, corpus.shards.path),
        validation=Places.of(manifest, Split.VALIDATION, corpus.shards.path),
        scratch=scratch,
        log=log or MemoryLog(),
    )


def test_training_killed_with_sigkill_resumes_to_the_same_losses_and_weights(small_corpus, tmp_path):
    uninterrupted = trainer(small_corpus, tmp_path / "whole").run()
    folder = tmp_path / "killed"
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    worker = subprocess.Popen(
        [sys.executable, WORKER, str(small_corpus.shards.path.parent), str(folder)], env=environment
    )
    while not (folder / "scratch" / "step-000000003").is_dir() and worker.poll() is None:
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL

    log = MemoryLog()
    resumed = trainer(small_corpus, folder, log=log).run()

    assert [step for step, _ in log.metrics] == list(range(3, 9))
    assert resumed.history == uninterrupted.history
    for name, weight in uninterrupted.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_sharded_training_goes_on_from_its_checkpoint(small_corpus, tmp_path):
    codes = run_two_processes(SHARDED_WORKER, small_corpus.shards.path.parent, tmp_path)
    found = orjson.loads((tmp_path / "histories.json").read_bytes())
    assert codes == [0, 0]
    assert found["steps"] == [2, 3]
    assert found["resumed"] == found["whole"]
    losses = [[row["loss"] for row in found[name]] for name in ("whole", "plain")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_another_seed_gives_other_losses(small_corpus, tmp_path):
    first = trainer(small_corpus, tmp_path).run()
    second = trainer(small_corpus, tmp_path / "other", OPTIONS.model_copy(update={"seed": 1})).run()
    assert first.history != second.history


def test_worker_processes_do_not_change_what_is_learned(small_corpus, tmp_path):
    options = OPTIONS.model_copy(update={"steps": 3, "feed": FeedOptions(workers=1)})
    with_worker = trainer(small_corpus, tmp_path / "a", options).run()
    without = trainer(small_corpus, tmp_path / "b", OPTIONS.model_copy(update={"steps": 3})).run()
    assert [row["loss"] for row in with_worker.history] == [row["loss"] for row in without.history]


def test_loss_that_is_not_a_number_stops_with_advice(small_corpus, tmp_path):
    wild = OPTIONS.model_copy(update={"optimizer": OptimizerOptions(learning_rate=1e30, warmup_steps=0)})
    with pytest.raises(TrainingError, match=r"loss is .* at step \d+ .*lower optimizer.learning_rate"):
        trainer(small_corpus, tmp_path, wild).run()


def test_bfloat16_with_gradient_checkpointing_stays_close(small_corpus, tmp_path):
    changes = {"precision": Precision.BFLOAT16, "gradient_checkpointing": True, "accumulate": 2, "average_decay": None}
    exact = trainer(small_corpus, tmp_path / "a").run()
    rough = trainer(small_corpus, tmp_path / "b", OPTIONS.model_copy(update=changes)).run()
    assert rough.history[0]["loss"] == pytest.approx(exact.history[0]["loss"], rel=0.02)


def test_corrupt_sample_is_skipped_and_counted(tmp_path):
    corpus = make_corpus(tmp_path / "corpus", 64)
    row = next(row for row in corpus.metadata.to_pylist() if row["split"] == "train")
    shard = corpus.shards.path / row["shard"]
    content = bytearray(shard.read_bytes())
    content[row["offset"] + 512 : row["offset"] + 900] = bytes(388)
    shard.write_bytes(content)
    outcome = trainer(corpus, tmp_path).run()
    assert outcome.n_skipped > 0
    assert sum(row["n_skipped"] for row in outcome.history) == outcome.n_skipped


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_damaged_checkpoint_is_named_and_the_one_before_goes_on(small_corpus, tmp_path, name, caplog):
    job = trainer(small_corpus, tmp_path)
    history = job.run().history
    newest = tmp_path / "scratch" / "step-000000006"
    content = (newest / name).read_bytes()
    (newest / name).write_bytes(content[: len(content) // 2])
    with caplog.at_level("INFO"):
        assert job.run().history == history
    assert "step-000000006 is damaged, the one before it is tried" in caplog.text
    assert f"resuming after step 3 from {newest.with_name('step-000000003')}" in caplog.text


def test_training_whose_checkpoints_are_all_damaged_does_not_begin_anew_without_a_word(small_corpus, tmp_path):
    job = trainer(small_corpus, tmp_path)
    job.run()
    for record in (tmp_path / "scratch").glob("step-*/state.json"):
        record.write_bytes(b"null")
    with pytest.raises(StateError, match=r"no checkpoint in .* can be read, of "):
        job.run()


def test_missing_shard_says_how_to_write_it_again(tmp_path):
    corpus = make_corpus(tmp_path / "corpus", 64)
    for path in corpus.shards.path.glob("*train*.tar"):
        path.unlink()
    with pytest.raises(FeedError, match="is missing: run `kedro run --pipelines=serialization`"):
        trainer(corpus, tmp_path).run()


def test_corrupt_shard_says_that_it_does_not_match_the_manifest(tmp_path):
    corpus = make_corpus(tmp_path / "corpus", 64)
    for path in corpus.shards.path.glob("*train*.tar"):
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(FeedError, match=r"16 samples in a row cannot be read, .* do not match the manifest; run"):
        trainer(corpus, tmp_path).run()


def test_full_memory_says_how_to_need_less(small_corpus, tmp_path, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("biomedica_kedro.clip.train.contrastive_backward", exhausted)
    with pytest.raises(TrainingError, match=r"out of memory at step 0 with 16 pairs .* raise train_clip.accumulate"):
        trainer(small_corpus, tmp_path).run()


def test_batch_larger_than_the_training_set_says_so(small_corpus, tmp_path):
    with pytest.raises(ValueError, match="fewer than one batch of 4096"):
        trainer(small_corpus, tmp_path, OPTIONS.model_copy(update={"batch_size": 4096})).run()


def test_weights_of_another_architecture_are_refused(small_corpus, tmp_path):
    from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, save_model
    from biomedica_kedro.clip.config import ModelOptions

    save_model(tmp_path / "other.safetensors", create(config_of(small_vit(tmp_path), ModelOptions())).state_dict())
    job = trainer(small_corpus, tmp_path)
    job.base = BaseModel("biomedica-tiny", str(tmp_path / "other.safetensors"))
    with pytest.raises(ModelError, match=r"set base_clip_model\.architecture"):
        job.run()


def test_missing_model_says_which_pipeline_makes_it(tmp_path):
    with pytest.raises(ModelError, match="kedro run --pipelines=modeling"):
        load_model(tmp_path)


def test_frozen_tower_keeps_its_weights(small_corpus, tmp_path):
    from biomedica_kedro.clip.config import ModelOptions

    options = OPTIONS.model_copy(update={"model": ModelOptions(freeze_image_tower=True), "average_decay": None})
    short = trainer(small_corpus, tmp_path / "a", options.model_copy(update={"steps": 1})).run().model.state_dict()
    longer = trainer(small_corpus, tmp_path / "b", options).run().model.state_dict()
    assert torch.equal(short["visual.conv1.weight"], longer["visual.conv1.weight"])
    assert not np.array_equal(short["text_projection"], longer["text_projection"])
