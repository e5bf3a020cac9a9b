"""Training runs in MLflow: live metrics, one run for a killed and resumed training, a registered candidate."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from biomedica_kedro.clip.log import RunDescription
from biomedica_kedro.datasets import tracking, training_log
from biomedica_kedro.datasets.tracking import TRAINING_EXPERIMENT
from biomedica_kedro.datasets.training_log import TrainingLogDataset, send_waiting

RUN = RunDescription(
    key="k1", name="tiny", parameters={"steps": 3}, data_name="training_manifest", data_digest="d" * 64, n_samples=5
)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A database with the experiment: MLflow takes seconds to make one."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").create_experiment(TRAINING_EXPERIMENT, artifact_location="file:///nowhere")
    return file


@pytest.fixture
def client(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("BIOMEDICA_TRACKING_OFF", raising=False)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE experiments SET artifact_location = ?", [(tmp_path / "artifacts").as_uri()])
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(previous)


@contextmanager
def locked(tmp_path):
    """MLflow's database while another program holds it."""
    with sqlite3.connect(tmp_path / "mlflow.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def steps(client, metric="loss"):
    (run,) = runs(client)
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def runs(client):
    return client.search_runs([client.get_experiment_by_name(TRAINING_EXPERIMENT).experiment_id])


def model_files(folder: Path) -> tuple[Path, Path]:
    weights, config = folder / "all.safetensors", folder / "all.json"
    weights.write_bytes(b"weights")
    config.write_text("{}")
    return weights, config


def test_run_holds_parameters_metrics_data_and_candidate(client, tmp_path):
    log = TrainingLogDataset(registered_model="clip").load()
    log.start(RUN)
    for step in range(3):
        log.log({"loss": 3.0 - step}, step)
    log.model(*model_files(tmp_path), {"validation/image_to_text_R_at_1": 0.5}, 2)
    log.finish()

    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.params["steps"] == "3"
    assert [point.value for point in client.get_metric_history(run.info.run_id, "loss")] == [3.0, 2.0, 1.0]
    assert run.inputs.dataset_inputs[0].dataset.digest == "d" * 36
    assert "git.sha" in run.data.tags or "biomedica.version" in run.data.tags
    assert client.get_model_version_by_alias("clip", "candidate").run_id == run.info.run_id


def test_killed_training_goes_on_in_its_own_run(client, tmp_path):
    killed = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    killed.start(RUN)
    killed.log({"loss": 3.0}, 0)
    resumed = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    resumed.start(RUN)
    resumed.log({"loss": 2.0}, 1)
    resumed.finish()

    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 2


def test_failed_training_is_marked(client):
    log = TrainingLogDataset().load()
    log.start(RUN)
    log.finish(failed=True)
    assert runs(client)[0].info.status == "FAILED"


def test_load_of_the_machine_is_logged_while_a_training_runs(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    log = TrainingLogDataset().load()
    log.start(RUN)
    deadline = time.monotonic() + 30
    while not any(name.startswith("system/") for name in runs(client)[0].data.metrics) and time.monotonic() < deadline:
        time.sleep(0.1)
    log.finish()
    metrics = runs(client)[0].data.metrics
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)


@pytest.mark.parametrize("told", ["waiting", "sent"])
def test_killed_training_loses_no_step_and_tells_none_twice(client, tmp_path, told):
    killed = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    killed.start(RUN)
    for step in range(5):
        killed.log({"loss": 1.0 * step}, step)
    if told == "sent":
        assert killed._outbox.flush(30)
    else:
        killed._outbox._is_closed = True  # as dead as after a kill: nothing is sent any more
    resumed = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    resumed.start(RUN)
    for step in range(3, 8):  # from the last checkpoint on
        resumed.log({"loss": 1.0 * step}, step)
    resumed.finish()
    assert steps(client) == list(range(8))
    assert not (tmp_path / "outbox").exists()


def test_training_killed_after_its_end_makes_no_second_run_and_no_second_version(client, tmp_path):
    for _ in range(2):
        log = TrainingLogDataset(registered_model="clip").load()
        log.start(RUN)
        log.log({"loss": 1.0}, 0)
        log.model(*model_files(tmp_path), {"loss": 1.0}, 0)
        log.finish()
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert [version.run_id for version in client.search_model_versions("name = 'clip'")] == [run.info.run_id]
    assert steps(client) == [0]
    assert len(client.search_logged_models([run.info.experiment_id])) == 1


def test_locked_database_holds_no_training_up_and_costs_no_step(client, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(training_log, "_SECONDS_TO_OPEN", 0.5)
    monkeypatch.setattr(training_log, "_SECONDS_TO_FINISH", 0.5)
    log = TrainingLogDataset(registered_model="clip", path=str(tmp_path / "outbox")).load()
    with locked(tmp_path):
        started = time.monotonic()
        log.start(RUN)
        for step in range(20):
            log.log({"loss": 1.0}, step)
        log.model(*model_files(tmp_path), {}, 19)
        log.finish()
        assert time.monotonic() - started < 30
    assert "not in MLflow yet, the next run sends what it has to tell" in caplog.text
    assert runs(client) == []
    monkeypatch.setattr(tracking, "is_dead", lambda process: bool(process))
    send_waiting(tmp_path / "outbox")
    assert steps(client) == list(range(20))
    assert runs(client)[0].info.status == "FINISHED"
    assert client.get_model_version_by_alias("clip", "candidate").run_id == runs(client)[0].info.run_id
    assert not (tmp_path / "outbox").exists()


def test_what_a_living_training_has_to_tell_is_left_to_it(client, tmp_path):
    log = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    log.start(RUN)
    send_waiting(tmp_path / "outbox")
    assert list((tmp_path / "outbox").iterdir())
    log.finish()


def test_line_that_a_kill_cut_short_is_passed_over(client, tmp_path, monkeypatch):
    killed = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    killed.start(RUN)
    killed.log({"loss": 1.0}, 0)
    killed._outbox._is_closed = True
    (file,) = (tmp_path / "outbox").iterdir()
    file.write_bytes(file.read_bytes() + b'{"event": "metr')
    resumed = TrainingLogDataset(path=str(tmp_path / "outbox")).load()
    resumed.start(RUN)
    resumed.log({"loss": 1.0}, 1)
    resumed._outbox._is_closed = True
    monkeypatch.setattr(tracking, "is_dead", lambda process: bool(process))
    send_waiting(tmp_path / "outbox")
    assert steps(client) == [0, 1]


def test_secret_parameters_are_not_shown(client):
    log = TrainingLogDataset().load()
    log.start(replace(RUN, key="k2", parameters={"stream.access.token": "abc", "steps": 3}))
    log.finish()
    assert runs(client)[0].data.params == {"stream.access.token": "***", "steps": "3", "n_training_samples": "5"}
