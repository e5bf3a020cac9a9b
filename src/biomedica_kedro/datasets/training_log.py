"""Training runs in MLflow, live: one run in `biomedica/train` a training, however often it is killed and resumed.

Metrics are sent in batches (one call takes some 20 ms on sqlite, whatever its size); load of processor, memory, disk,
network and GPU by MLflow's own monitor. A tracking server that goes away costs metrics, never the training.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from biomedica_kedro.clip.log import RunDescription, TrainingLog
from biomedica_kedro.datasets.tracking import TRAINING_EXPERIMENT, active_run_tags, experiment
from biomedica_kedro.stages.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_CALLS = 2.0
_METRICS_A_CALL = 1000
_SECONDS_BETWEEN_SYSTEM_METRICS = 10
_KEY_TAG = "training.key"


class MlflowTrainingLog:
    """A `TrainingLog` that writes to an MLflow experiment through the client.

    Args:
        registered_model: name under which the trained model is registered with the alias `candidate`; None: not.
        upload_weights: keep the weights in the run's artifacts; off, only where they lie is recorded.
    """

    def __init__(self, registered_model: str | None, *, upload_weights: bool) -> None:
        self._registered_model = registered_model
        self._upload_weights = upload_weights
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._run_id = ""
        self._waiting: list[Metric] = []
        self._last_call = 0.0
        self._monitor: SystemMetricsMonitor | None = None

    def start(self, run: RunDescription) -> None:
        """See `TrainingLog`."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._open(run)
        self._monitor = SystemMetricsMonitor(self._run_id, _SECONDS_BETWEEN_SYSTEM_METRICS, resume_logging=True)
        self._monitor.start()

    def _open(self, run: RunDescription) -> None:
        from mlflow.entities import Param, RunTag
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        self._client, self._experiment_id = experiment(TRAINING_EXPERIMENT)
        unfinished = self._client.search_runs(
            [self._experiment_id],
            f"tags.`{_KEY_TAG}` = '{run.key}' and attributes.status != 'FINISHED'",
            max_results=1,
        )
        if unfinished:
            self._run_id = unfinished[0].info.run_id
            self._client.update_run(self._run_id, status="RUNNING")
            return
        tags = {**active_run_tags(), _KEY_TAG: run.key, MLFLOW_RUN_NAME: run.name}
        self._run_id = self._client.create_run(self._experiment_id, tags=tags).info.run_id
        parameters = [Param(name, str(value)[:6000]) for name, value in run.parameters.items()]
        self._client.log_batch(
            self._run_id,
            params=[*parameters, Param("n_training_samples", str(run.n_samples or "not known: streamed"))],
            tags=[],
        )
        self._client.log_inputs(self._run_id, [_dataset_input(run)])
        self._client.log_batch(self._run_id, tags=[RunTag("data.digest", run.data_digest)])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now, step) for name, value in values.items()]
        is_due = time.monotonic() - self._last_call >= _SECONDS_BETWEEN_CALLS
        if is_due or len(self._waiting) >= _METRICS_A_CALL:
            self._send()

    def artifact(self, path: Path) -> None:
        """See `TrainingLog`."""
        if self._client is not None:
            self._client.log_artifact(self._run_id, str(path))

    def model(self, weights: Path, config: Path, metrics: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        from mlflow.entities import LoggedModelStatus, Metric

        client = self._client
        if client is None:
            return
        tags = {"weights.sha256": sha256_of(weights), "weights.path": str(weights)}
        logged = client.create_logged_model(
            self._experiment_id, name="clip", source_run_id=self._run_id, tags=tags, model_type="clip"
        )
        for path in (config, *((weights,) if self._upload_weights else ())):
            client.log_model_artifact(logged.model_id, str(path))
        now = int(time.time() * 1000)
        last = [Metric(name, value, now, step, model_id=logged.model_id) for name, value in metrics.items()]
        client.log_batch(self._run_id, metrics=last)
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        if self._registered_model is not None:
            self._register(client, self._registered_model, logged.model_id, tags)

    def finish(self, *, failed: bool = False) -> None:
        """See `TrainingLog`."""
        if self._client is None:
            return
        if self._monitor is not None:
            self._monitor.finish()
        self._send()
        self._client.set_terminated(self._run_id, status="FAILED" if failed else "FINISHED")
        self._client = None

    def _register(self, client: MlflowClient, name: str, model_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            name, source=f"models:/{model_id}", run_id=self._run_id, tags=dict(tags), model_id=model_id
        )
        client.set_registered_model_alias(name, "candidate", version.version)

    def _send(self) -> None:
        from mlflow.exceptions import MlflowException

        waiting, self._waiting = self._waiting, []
        self._last_call = time.monotonic()
        if self._client is None:
            return
        try:
            for first in range(0, len(waiting), _METRICS_A_CALL):
                self._client.log_batch(self._run_id, metrics=waiting[first : first + _METRICS_A_CALL])
        except MlflowException as error:
            logger.warning("MLflow did not take %d metrics, training goes on: %s", len(waiting), error)


class TrainingLogDataset(AbstractDataset[None, TrainingLog]):
    """Where training runs are logged: the MLflow server of the project.

    Example:
        >>> TrainingLogDataset(registered_model="biomedica-clip").load().digest()
        'training-log'
    """

    def __init__(
        self,
        *,
        registered_model: str | None = None,
        upload_weights: bool = True,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See `MlflowTrainingLog`; metadata is kept for kedro-viz (layer)."""
        self._settings = {"registered_model": registered_model, "upload_weights": upload_weights}
        self._log = MlflowTrainingLog(registered_model, upload_weights=upload_weights)
        self.metadata = metadata

    def load(self) -> TrainingLog:
        """The log; MLflow is reached when a training starts."""
        return self._log

    def save(self, data: None) -> NoReturn:
        """Refuse: trainings write to the log themselves."""
        raise DatasetError("training_log is an input: a training writes to what it loads")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return dict(self._settings)


def _dataset_input(run: RunDescription) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = json.dumps({"num_rows": run.n_samples})
    dataset = Dataset(
        name=run.data_name, digest=run.data_digest[:36], source_type="local", source=json.dumps({"uri": run.data_name}),
        profile=profile,
    )  # fmt: skip
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
