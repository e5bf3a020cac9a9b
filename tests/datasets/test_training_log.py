"""Training runs in MLflow: live metrics, one run for a killed and resumed training, a registered candidate."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from biomedica_kedro.clip.log import RunDescription
from biomedica_kedro.datasets.tracking import TRAINING_EXPERIMENT
from biomedica_kedro.datasets.training_log import TrainingLogDataset

RUN = RunDescription(
    key="k1", name="tiny", parameters={"steps": 3}, data_name="training_manifest", data_digest="d" * 64, n_samples=5
)


@pytest.fixture
def client(tmp_path, monkeypatch):
    import mlflow

    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient()
    client.create_experiment(TRAINING_EXPERIMENT, artifact_location=str(tmp_path / "artifacts"))
    yield client
    mlflow.set_tracking_uri(previous)


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


def test_killed_training_goes_on_in_its_own_run(client):
    killed = TrainingLogDataset().load()
    killed.start(RUN)
    killed.log({"loss": 3.0}, 0)
    resumed = TrainingLogDataset().load()
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
