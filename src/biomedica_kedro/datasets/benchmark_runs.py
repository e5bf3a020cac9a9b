"""Publish benchmark runs to MLflow: one run a model and suite, written once, however often it is published.

Scores are kept in the catalog; MLflow shows them. So publishing can be switched off, and a tracking server that does
not answer costs a warning, never the scores.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from kedro.io import AbstractDataset

from biomedica_kedro.benchmark.publication import BenchmarkRun
from biomedica_kedro.datasets import tracking
from biomedica_kedro.stages.files import write_json
from biomedica_kedro.stages.place import place, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

_KEY_TAG = "bench.key"
_BATCH = 900


class BenchmarkRunsDataset(AbstractDataset[Sequence[BenchmarkRun], list[dict[str, Any]]]):
    """Runs in MLflow's experiment `biomedica/benchmark`, and a small JSON file that says which.

    `save` looks each run up by its key (a digest of its scores) and writes it only when it is not there. `load` reads
    the JSON file: one entry a model with its key and run id (null when MLflow is off).
    """

    def __init__(self, *, filepath: str, is_tracked: bool = True, metadata: dict[str, Any] | None = None) -> None:
        """Args: filepath: the JSON file; is_tracked: whether runs go to MLflow; metadata: for kedro-viz."""
        self._path = place(filepath)
        self._is_tracked = is_tracked
        self.metadata = metadata

    def load(self) -> list[dict[str, Any]]:
        """What was published last."""
        return list(orjson.loads(read_file(self._path)))

    def save(self, data: Sequence[BenchmarkRun]) -> None:
        """Publish what is not published yet."""
        entries = [{"model_id": run.model_id, "key": run.key, "run_id": self._publish(run)} for run in data]
        write_json(self._path, entries)

    def _publish(self, run: BenchmarkRun) -> str | None:
        if not self._is_tracked:
            return None
        from mlflow.exceptions import MlflowException

        try:
            client, experiment_id = tracking.experiment(tracking.BENCHMARK_EXPERIMENT)
            found = client.search_runs([experiment_id], f"tags.`{_KEY_TAG}` = '{run.key}'", max_results=1)
            return found[0].info.run_id if found else publish(client, experiment_id, run)
        except MlflowException as error:
            logger.warning("benchmark run of %s was not published to MLflow: %s", run.model_id, error)
            return None

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "is_tracked": self._is_tracked}


def publish(client: MlflowClient, experiment_id: str, run: BenchmarkRun) -> str:
    """Write one run; its key tag comes last, so that a run cut short is not taken for a published one.

    Returns:
        The run's id.
    """
    from mlflow.entities import Param, RunTag

    name = f"{run.model_id}@{run.tags['bench.suite']}"
    tags = {**tracking.active_run_tags(), **run.tags, "mlflow.runName": name}
    run_id: str = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    model = client.create_logged_model(
        experiment_id, name=run.model_id, source_run_id=run_id, model_type="open_clip", tags=dict(run.tags)
    )
    metrics = _metrics(run, model.model_id)
    params = [Param(name, value[:6000]) for name, value in run.params.items()]
    client.log_batch(run_id, metrics[:_BATCH], params, [RunTag("model.logged_id", model.model_id)])
    for start in range(_BATCH, len(metrics), _BATCH):
        client.log_batch(run_id, metrics[start : start + _BATCH])
    for number, found in run.draws.items():
        _publish_draw(client, experiment_id, run_id, f"{name}, draw {number}", found)
    client.finalize_logged_model(model.model_id, "READY")
    _log_artifacts(client, run_id, run.artifacts)
    client.set_tag(run_id, _KEY_TAG, run.key)
    client.set_terminated(run_id)
    return run_id


def _publish_draw(
    client: MlflowClient, experiment_id: str, parent: str, name: str, metrics: Mapping[str, float]
) -> None:
    """A child run of one draw: the parent shows their mean."""
    from mlflow.entities import Metric

    child = client.create_run(experiment_id, tags={"mlflow.parentRunId": parent}, run_name=name).info.run_id
    now = int(time.time() * 1000)
    client.log_batch(child, [Metric(key, value, now, 0) for key, value in metrics.items()])
    client.set_terminated(child)


def _metrics(run: BenchmarkRun, logged_model: str) -> list[Metric]:
    """The run's flat metrics and the model's task metrics; the step keeps the latter's rows in the store apart.

    The run shows the value of the last step, so the flat ones come after all tasks.
    """
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    last = 1 + max((entry.step for entry in run.task_metrics), default=0)
    flat = [Metric(key, value, now, last) for key, value in run.metrics.items()]
    by_task = [
        Metric(
            entry.name, entry.value, now, entry.step,
            model_id=logged_model, dataset_name=entry.task, dataset_digest=entry.dataset_digest[:36],
        )
        for entry in run.task_metrics
    ]  # fmt: skip
    return flat + by_task


def _log_artifacts(client: MlflowClient, run_id: str, artifacts: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in artifacts.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, folder)
