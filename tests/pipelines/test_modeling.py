"""The modeling pipeline on a corpus of coloured squares: learns, resumes, and does nothing the second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest

from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.clip.config import CheckpointOptions, FeedOptions, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.selection import SelectionOptions
from biomedica_kedro.pipelines.modeling.nodes import plot_training, select_training_samples, train_clip
from tests.clip.small_corpus import small_corpus

__all__ = ["small_corpus"]

OPTIONS = TrainOptions(
    steps=12,
    batch_size=16,
    threads=1,
    optimizer=OptimizerOptions(warmup_steps=2),
    feed=FeedOptions(cache=True),
    checkpoints=CheckpointOptions(every=4, validate_every=6),
)


@pytest.fixture
def trained(small_corpus, run_plan):
    manifest = run_plan(select_training_samples(small_corpus.metadata_folder, SelectionOptions()))["training_manifest"]
    log = MemoryLog()

    def train(options: TrainOptions = OPTIONS, log: MemoryLog = log):
        return run_plan(train_clip(manifest, small_corpus.shards, BaseModel("biomedica-tiny"), log, options)), log

    return train


def test_training_learns_and_reports(trained):
    from biomedica_kedro.clip.checkpoints import load_model

    outputs, log = trained()
    history = outputs["training_history"].table()
    model, _, tokenizer = load_model(outputs["clip_checkpoint"])

    assert history["step"].to_pylist() == list(range(12))
    assert history["loss"][11].as_py() < history["loss"][0].as_py()
    assert log.status == "FINISHED" and len(log.metrics) == 12
    assert not model.training and tokenizer(["a red field"]).shape == (1, 32)
    assert len(plot_training(outputs["training_history"]).data) == 6


def test_second_training_does_nothing(trained):
    trained()
    again = MemoryLog()
    trained(OPTIONS, again)
    assert again.run is None


def test_test_split_is_never_selected(small_corpus, run_plan):
    outputs = run_plan(select_training_samples(small_corpus.metadata_folder, SelectionOptions()))
    splits = outputs["training_manifest"].table()["split"]
    assert set(splits.to_pylist()) == {"train", "validation"}
    assert pc.sum(outputs["training_counts"].table()["selected"]).as_py() == len(splits)


def test_listing_the_pipelines_imports_neither_torch_nor_duckdb():
    code = (
        "import sys; import biomedica_kedro.pipelines.modeling; print({'torch', 'duckdb', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("environment", ["base", "pmc"])
def test_configured_recipes_and_options_are_valid(environment):
    from omegaconf import OmegaConf

    conf = Path(__file__).parents[2] / "conf"
    files = [conf / name / "parameters" / "modeling.yml" for name in dict.fromkeys(["base", environment])]
    merged = OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.load, files)))["modeling"]
    assert set(merged) == {"select_training_samples", "train_clip"}
    assert {"full", "concept_filtered", "concept_balanced"} <= set(
        SelectionOptions(**merged["select_training_samples"]).recipes
    )
    options = TrainOptions(**merged["train_clip"])
    paper = options.steps * options.batch_size / 216e6
    assert environment == "base" or paper == pytest.approx(1, rel=1e-3)


def test_estimate_tells_hours_and_trains_nothing(trained):
    from biomedica_kedro.batches import TaskError

    log = MemoryLog()
    with pytest.raises(TaskError, match=r"192 samples seen \(4\.0 epochs\).*hours, cost.*Nothing was trained"):
        trained(OPTIONS.model_copy(update={"estimate_only": True}), log)
    assert log.run is None
