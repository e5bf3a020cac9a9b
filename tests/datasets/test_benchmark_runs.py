from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from biomedica_kedro.benchmark.publication import BenchmarkRun, TaskMetric
from biomedica_kedro.datasets.benchmark_runs import BenchmarkRunsDataset
from biomedica_kedro.datasets.tracking import BENCHMARK_EXPERIMENT
from biomedica_kedro.datasets.tracking_store import TrackingError


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient()
    client.create_experiment(BENCHMARK_EXPERIMENT, artifact_location=(tmp_path / "artifacts").as_uri())
    yield client
    mlflow.set_tracking_uri(before)


def _run(model: str, n_tasks: int = 40, shift: float = 0.0) -> BenchmarkRun:
    names = [f"task{at:02d}" for at in range(n_tasks)]
    metrics = {
        f"zs/radiology/{name}/{metric}": 0.5 + shift for name in names for metric in ("acc", "bacc", "auroc", "ece")
    }
    by_task = [
        TaskMetric(metric, 0.5 + at / 100 + shift, name, at, "digest")
        for at, name in enumerate(names)
        for metric in ("acc", "bacc", "auroc", "ece")
    ]
    return BenchmarkRun(
        model_id=model, key=f"key-{model}-{shift}", tags={"bench.suite": "biomedica"}, params={"seed": "0"},
        metrics=metrics, task_metrics=by_task, artifacts={"leaderboard.html": b"<html>"},
    )  # fmt: skip


def _runs(client: MlflowClient) -> list:
    experiment = client.get_experiment_by_name(BENCHMARK_EXPERIMENT)
    return client.search_runs([experiment.experiment_id])


def test_40_tasks_of_3_models_are_logged_in_seconds(client: MlflowClient, tmp_path: Path) -> None:
    dataset = BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json"))
    dataset.save([_run("warm-up", 1)])
    started = time.process_time()
    dataset.save([_run(model) for model in ("a", "b", "c")])
    assert time.process_time() - started < 10
    assert len(_runs(client)) == 4
    names = {file.path for file in client.list_artifacts(_runs(client)[0].info.run_id)}
    assert names == {"leaderboard.html", "provenance.json"}


def test_publishing_again_adds_nothing_and_new_scores_do(client: MlflowClient, tmp_path: Path) -> None:
    dataset = BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json"))
    dataset.save([_run("a", 2)])
    first = dataset.load()
    dataset.save([_run("a", 2)])
    assert dataset.load() == first
    dataset.save([_run("a", 2, shift=0.1)])
    assert len(_runs(client)) == 2


def test_models_are_ranked_task_by_task(client: MlflowClient, tmp_path: Path) -> None:
    BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json")).save([_run("weak", 3), _run("strong", 3, shift=0.2)])
    experiment = client.get_experiment_by_name(BENCHMARK_EXPERIMENT)
    ranked = client.search_logged_models(
        [experiment.experiment_id], datasets=[{"dataset_name": "task01", "dataset_digest": "digest"}],
        order_by=[{"field_name": "metrics.acc", "ascending": False, "dataset_name": "task01"}],
    )  # fmt: skip
    assert [model.name for model in ranked] == ["strong", "weak"]


def test_run_shows_the_mean_of_its_tasks_and_not_the_last_one(client: MlflowClient, tmp_path: Path) -> None:
    run = _run("a", 3)
    means = {**run.metrics, "acc": 0.51}
    BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json")).save([dataclasses.replace(run, metrics=means)])
    assert _runs(client)[0].data.metrics["acc"] == 0.51


def test_draws_of_repeated_measurements_are_child_runs(client: MlflowClient, tmp_path: Path) -> None:
    run = dataclasses.replace(_run("a", 2), draws={0: {"fs/x/k1/acc": 0.25}, 1: {"fs/x/k1/acc": 0.5}})
    BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json")).save([run])
    parent = next(found for found in _runs(client) if "mlflow.parentRunId" not in found.data.tags)
    children = [found for found in _runs(client) if found.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(child.data.metrics["fs/x/k1/acc"] for child in children) == [0.25, 0.5]


def test_runs_are_recorded_without_a_tracker(tmp_path: Path) -> None:
    dataset = BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json"), is_tracked=False)
    dataset.save([_run("a", 2)])
    assert dataset.load() == [{"model_id": "a", "key": "key-a-0.0", "run_id": None}]
    assert dataset.exists()


def test_publication_that_was_cut_short_is_replaced_and_not_doubled(client, tmp_path, monkeypatch) -> None:
    run = dataclasses.replace(_run("a", 2), draws={0: {"fs/x/k1/acc": 0.25}})

    def is_killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("biomedica_kedro.datasets.benchmark_runs._log_artifacts", is_killed)
        BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json")).save([run])
    (cut_short,) = [found for found in _runs(client) if found.info.status == "RUNNING"]

    BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json")).save([run])
    shown = [found for found in _runs(client) if "mlflow.parentRunId" not in found.data.tags]
    assert [found.info.status for found in shown] == ["FINISHED"]
    assert cut_short.info.run_id not in {found.info.run_id for found in shown}
    assert len(_runs(client)) == 2  # it and its draw
    assert len(client.search_logged_models([shown[0].info.experiment_id])) == 1


def test_what_mlflow_did_not_take_is_published_by_the_next_run(client, tmp_path, monkeypatch, caplog) -> None:
    dataset = BenchmarkRunsDataset(filepath=str(tmp_path / "runs.json"))
    with monkeypatch.context() as patched:
        patched.setattr("biomedica_kedro.datasets.tracking.experiment", _fail)
        dataset.save([_run("a", 2)])
    assert "benchmark of a: not recorded in MLflow, data work goes on. locked" in caplog.text
    assert not dataset.exists()
    dataset.save([_run("a", 2)])
    assert dataset.exists()


def _fail(name: str) -> None:
    raise TrackingError("locked")
