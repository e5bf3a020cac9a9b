"""Publish benchmark runs to MLflow: one run a model and suite, written once, however often it is published.

Scores are kept in the catalog; MLflow shows them. So publishing can be switched off, and a tracking server that does
not answer costs a warning, never the scores.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from kedro.io import AbstractDataset

from biomedica_kedro import __version__
from biomedica_kedro.benchmark.publication import BenchmarkRun
from biomedica_kedro.datasets import tracking
from biomedica_kedro.stages.files import write_json
from biomedica_kedro.stages.place import place, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

_KEY_TAG = "bench.key"
_PARENT_TAG = "mlflow.parentRunId"
_BATCH = 900
_KEPT = {"kedro.session_id", "git.sha", "git.dirty", tracking.PROCESS_TAG}  # the rest of the provenance is one artifact


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
        run_id = None
        with tracking.warned(f"benchmark of {run.model_id}"):
            client, experiment_id = tracking.experiment(tracking.BENCHMARK_EXPERIMENT)
            run_id = published(client, experiment_id, run.key) or publish(client, experiment_id, run)
        return run_id

    def _exists(self) -> bool:
        """Whether all is published: what MLflow did not take is tried again by the next run."""
        try:
            return all(entry["run_id"] is not None or not self._is_tracked for entry in self.load())
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "is_tracked": self._is_tracked}


def published(client: MlflowClient, experiment_id: str, key: str) -> str | None:
    """Id of the run with a key; what publications that were cut short left of it is removed."""
    found = client.search_runs([experiment_id], f"tags.`{_KEY_TAG}` = '{key}'")
    whole = [run.info.run_id for run in found if run.info.status == "FINISHED"]
    for run in found:
        if run.info.run_id in whole[:1] or not _is_cut_short(run):
            continue
        for child in client.search_runs([experiment_id], f"tags.`{_PARENT_TAG}` = '{run.info.run_id}'"):
            client.delete_run(child.info.run_id)
        for model in client.search_logged_models([experiment_id], f"source_run_id = '{run.info.run_id}'"):
            client.delete_logged_model(model.model_id)
        client.delete_run(run.info.run_id)
    return whole[0] if whole else None


def _is_cut_short(run: Run) -> bool:
    """Whether a publication ended before its end, by a kill or by an error of MLflow."""
    process = run.data.tags.get(tracking.PROCESS_TAG, "")
    return run.info.status != "FINISHED" and (process == tracking.process_id() or tracking.is_dead(process))


def publish(client: MlflowClient, experiment_id: str, run: BenchmarkRun) -> str:
    """Write one run; it is closed last, so that one cut short is not taken for a published one.

    Returns:
        The run's id.
    """
    from mlflow.entities import Param, RunTag
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    name = f"{run.model_id}@{run.tags['bench.suite']}"
    provenance = tracking.active_run_tags()
    kept = {tag: value for tag, value in provenance.items() if tag in _KEPT}
    tags = {**kept, **run.tags, _KEY_TAG: run.key, "mlflow.runName": name, MLFLOW_RUN_NOTE: run.description}
    run_id: str = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    model = client.create_logged_model(
        experiment_id, name=run.model_id, source_run_id=run_id, model_type="open_clip", tags=dict(run.tags)
    )
    metrics = _metrics(run, model.model_id)
    params = [Param(key, value[:6000]) for key, value in {**run.params, **_environment()}.items()]
    client.log_batch(run_id, metrics[:_BATCH], params, [RunTag("model.logged_id", model.model_id)])
    for start in range(_BATCH, len(metrics), _BATCH):
        client.log_batch(run_id, metrics[start : start + _BATCH])
    if run.data_sets:
        client.log_inputs(run_id, [_data_set(task, digest) for task, digest in run.data_sets.items()])
    for number, found in run.draws.items():
        _publish_draw(client, experiment_id, run_id, f"{name}, draw {number}", found)
    client.finalize_logged_model(model.model_id, "READY")
    record = orjson.dumps(provenance, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    _log_artifacts(client, run_id, {**run.artifacts, "provenance.json": record})
    client.set_terminated(run_id)
    return run_id


def _environment() -> dict[str, str]:
    """What the scores were computed with, as parameters: two runs differ there at a glance."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {platform.machine()}"
    versions = {"biomedica-kedro": __version__, "torch": torch.__version__, "open-clip": version("open-clip-torch")}
    named = {**versions, "python": platform.python_version(), "device": device}
    return {f"environment.{name}": str(value) for name, value in named.items()}


def _data_set(task: str, digest: str) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data_set = Dataset(name=task, digest=digest[:36], source_type="local", source=orjson.dumps({"task": task}).decode())
    return DatasetInput(data_set, [InputTag("mlflow.data.context", "benchmark")])


def _publish_draw(
    client: MlflowClient, experiment_id: str, parent: str, name: str, metrics: Mapping[str, float]
) -> None:
    """A child run of one draw: the parent shows their mean."""
    from mlflow.entities import Metric

    tags = {_PARENT_TAG: parent, tracking.PROCESS_TAG: tracking.process_id()}
    child = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
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
