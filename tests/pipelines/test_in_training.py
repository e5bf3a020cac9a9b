from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from biomedica_kedro.benchmark.monitor import MonitorOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.task import TaskFileError, load_tasks
from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, tokenizer_of
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.pipelines.modeling.in_training import measurement
from biomedica_kedro.stages.identity import digest_of
from tests.benchmark.samples_factory import class_rows, write_samples

TASKS = {name: task for name, task in load_tasks().items() if name.startswith("embedded_")}


@pytest.fixture
def store(tmp_path: Path) -> SampleStore:
    rows = class_rows(TASKS["embedded_panel_type"], 3)
    rows[0] |= {"image": b"broken"}
    for name in ("embedded_panel_type", "embedded_retrieval"):
        write_samples(tmp_path / "samples", name, rows)
    return SampleStore((tmp_path / "samples",))


def test_tasks_are_scored_under_the_weights_of_the_moment(store: SampleStore, tmp_path: Path) -> None:
    found = measurement(TASKS, store, MonitorOptions(tasks=("embedded_panel_type", "embedded_retrieval"), samples=4))
    monitor = found.build()
    for rows in tmp_path.rglob("rows.parquet"):
        rows.unlink()  # images are opened once
    torch.manual_seed(0)
    config = config_of(BaseModel("biomedica-tiny"), ModelOptions())
    model = create(config).train()
    tokenizer = tokenizer_of(config)
    before = torch.random.get_rng_state()
    first = monitor(model, None, tokenizer)
    assert first.keys() == {
        "benchmark/embedded_panel_type/accuracy", "benchmark/embedded_retrieval/i2t_R_at_1", "benchmark/seconds",
    }  # fmt: skip
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), before), "the training draws what it would have drawn"
    scores = {name: value for name, value in first.items() if name != "benchmark/seconds"}
    assert {name: monitor(model, None, tokenizer)[name] for name in scores} == scores
    assert first["benchmark/seconds"] > 0


def test_tasks_without_samples_are_told_and_unknown_ones_refused(
    store: SampleStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert measurement(TASKS, store, MonitorOptions(tasks=("embedded_concept",))) is None
    assert "no samples: embedded_concept" in caplog.text
    with pytest.raises(TaskFileError, match="did you mean 'embedded_concept'"):
        measurement(TASKS, store, MonitorOptions(tasks=("embedded_concepts",)))


def test_what_is_scored_is_no_part_of_the_training() -> None:
    assert digest_of(MonitorOptions(tasks=("pcam",), samples=3)) == digest_of(MonitorOptions())
