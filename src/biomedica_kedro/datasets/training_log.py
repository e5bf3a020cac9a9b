"""Training runs in MLflow, live: one run in `biomedica/train` a training, however often it is killed and resumed.

What a training tells goes through an outbox: the training never waits for MLflow, and what MLflow did not take stays
in a file that the next run sends. Every event may be sent twice and counts once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedica_kedro.clip.log import RunDescription, TrainingLog
from biomedica_kedro.datasets import tracking
from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.outbox import SUFFIX, Event, Outbox, first_of_a_kind, forget, read_events
from biomedica_kedro.datasets.previews import SettingsPreview
from biomedica_kedro.datasets.registry import log_model, register
from biomedica_kedro.stages.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

logger = logging.getLogger(__name__)

_SECONDS_TO_OPEN = 5.0
_SECONDS_TO_FINISH = 10.0
_METRICS_A_CALL = 1000
_SECONDS_BETWEEN_SYSTEM_METRICS = 10
_KEY_TAG = "training.key"


class MlflowTrainingLog:
    """A `TrainingLog` that writes to an MLflow experiment through the client.

    Args:
        registered_model: name under which the trained model is registered with the alias `candidate`; None: not.
        upload_weights: keep the weights in the run's artifacts; off, only where they lie is recorded.
        folder: where events wait that MLflow has not taken; None: in memory only.
    """

    def __init__(self, registered_model: str | None, *, upload_weights: bool, folder: Path | None = None) -> None:
        self._kept = {"registered_model": registered_model, "upload_weights": upload_weights}
        self._folder = folder
        self._outbox: Outbox | None = None
        self._delivery = _Delivery()

    def start(self, run: RunDescription) -> None:
        """See `TrainingLog`."""
        file = self._folder / f"{run.key}{SUFFIX}" if self._folder is not None else None
        self._delivery = _Delivery(is_live=True)
        self._outbox = Outbox(file, self._delivery, tracking.tracking_errors)
        parameters = {name: tracking.masked_value(name, value)[:6000] for name, value in run.parameters.items()}
        described = {**asdict(run), "parameters": parameters}
        self._put("start", run=described, tags=tracking.active_run_tags(), **self._kept)
        if not self._outbox.flush(_SECONDS_TO_OPEN):
            self._tell_delay()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        self._put("metrics", values={name: float(value) for name, value in values.items()}, step=step)

    def artifact(self, path: Path) -> None:
        """See `TrainingLog`."""
        self._put("artifact", path=str(path.absolute()))

    def model(self, weights: Path, config: Path, metrics: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        paths = {"weights": str(weights.absolute()), "config": str(config.absolute())}
        self._put("model", **paths, sha256=sha256_of(weights), metrics=dict(metrics), step=step)

    def finish(self, *, failed: bool = False) -> None:
        """See `TrainingLog`."""
        if self._outbox is None:
            return
        self._put("finish", status="FAILED" if failed else "FINISHED")
        if self._outbox.close(_SECONDS_TO_FINISH):
            self._tell_delay()
        self._delivery.stop_monitor()
        self._outbox = None

    def _put(self, event: str, **values: Any) -> None:
        if self._outbox is not None:
            self._outbox.put({"event": event, "time": int(time.time() * 1000), **values})

    def _tell_delay(self) -> None:
        if self._outbox is None or tracking.is_off():
            return
        why = tracking.first_line(self._outbox.failure) if self._outbox.failure else "MLflow does not answer"
        kept = "the next run sends what it has to tell" if self._outbox.file else "what it had to tell is lost"
        logger.warning("training: not in MLflow yet, %s. %s", kept, why)


def send_waiting(folder: Path) -> None:
    """Send what trainings of earlier runs could not.

    Raises:
        Exception: one of `tracking.tracking_errors()`; what was not sent stays.
    """
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        waiting = read_events(file)
        starts = [event for event in waiting if event["event"] == "start"]
        if starts and not tracking.is_dead(starts[-1]["tags"].get(tracking.PROCESS_TAG, "")):
            continue  # it is training now
        delivery = _Delivery()
        while starts and waiting:
            events = first_of_a_kind(waiting)
            delivery(events)
            waiting = waiting[len(events) :]
        forget(file)
        logger.info("MLflow has what %s of an earlier run had to tell", file.name)


class _Delivery:
    """Writes events to MLflow; an event that MLflow has already changes nothing."""

    def __init__(self, *, is_live: bool = False) -> None:
        self._is_live = is_live
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._run_id = ""
        self._start: Event = {}
        self._known: dict[str, set[int]] | None = None
        self._monitor: SystemMetricsMonitor | None = None

    def __call__(self, events: Sequence[Event]) -> None:
        """Write events of one kind.

        Raises:
            Exception: one of `tracking.tracking_errors()`.
        """
        kind = events[0]["event"]
        if kind == "start":
            self._open(events[0])
            return
        client = tracking.connect()  # a store that is locked is found here, and not by waiting in each call
        if kind == "metrics":
            self._log(client, events)
        else:
            {"artifact": self._add_artifact, "model": self._add_model, "finish": self._finish}[kind](client, events[0])

    def stop_monitor(self) -> None:
        """End the thread that watches the machine."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    def _open(self, start: Event) -> None:
        from mlflow.entities import Param, RunTag
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        run, self._start = start["run"], start
        client, self._experiment_id = tracking.experiment(tracking.TRAINING_EXPERIMENT)
        found = client.search_runs([self._experiment_id], f"tags.`{_KEY_TAG}` = '{run['key']}'", max_results=1)
        if found:
            self._run_id = found[0].info.run_id
            client.update_run(self._run_id, status="RUNNING")
            client.set_tag(self._run_id, tracking.PROCESS_TAG, start["tags"][tracking.PROCESS_TAG])
        else:
            tags = {**start["tags"], _KEY_TAG: run["key"], "mlflow.runName": run["name"]}
            created = client.create_run(self._experiment_id, start_time=start["time"], tags=tags)
            self._run_id = created.info.run_id
        self._known = {name: self._steps(client, name) for name in found[0].data.metrics} if found else {}
        # A kill between creation and here left these out; a resumption with other threads keeps the first ones
        if not (found and "data.digest" in found[0].data.tags):
            told = found[0].data.params if found else {}
            params = {**run["parameters"], "n_training_samples": str(run["n_samples"] or "not known: streamed")}
            client.log_batch(self._run_id, params=[Param(*pair) for pair in params.items() if pair[0] not in told])
            client.log_inputs(self._run_id, [_dataset_input(run)])
            client.log_batch(self._run_id, tags=[RunTag("data.digest", run["data_digest"])])
        if self._is_live and self._monitor is None:
            self._monitor = SystemMetricsMonitor(self._run_id, _SECONDS_BETWEEN_SYSTEM_METRICS, resume_logging=True)
            self._monitor.start()

    def _steps(self, client: MlflowClient, metric: str) -> set[int]:
        """Steps of a metric that MLflow has; the machine's own are not told by events."""
        is_ours = not metric.startswith("system/")
        return {point.step for point in client.get_metric_history(self._run_id, metric)} if is_ours else set()

    def _log(self, client: MlflowClient, events: Sequence[Event]) -> None:
        from mlflow.entities import Metric

        known = self._known if self._known is not None else {}
        metrics = [
            Metric(name, value, event["time"], event["step"])
            for event in events
            for name, value in event["values"].items()
            if event["step"] not in known.setdefault(name, set())
        ]
        for first in range(0, len(metrics), _METRICS_A_CALL):
            sent = metrics[first : first + _METRICS_A_CALL]
            client.log_batch(self._run_id, metrics=sent)
            for metric in sent:
                known[metric.key].add(metric.step)

    def _add_artifact(self, client: MlflowClient, event: Event) -> None:
        if Path(event["path"]).is_file():
            client.log_artifact(self._run_id, event["path"])
        else:
            logger.warning("%s is gone and was not kept in MLflow", event["path"])

    def _add_model(self, client: MlflowClient, event: Event) -> None:
        weights, config = Path(event["weights"]), Path(event["config"])
        if not (weights.is_file() and config.is_file()):
            logger.warning("%s is gone and was not kept in MLflow", weights)
            return
        logged = log_model(
            client, self._run_id, weights, config, event["metrics"],
            step=event["step"], time=event["time"], upload=self._start["upload_weights"],
        )  # fmt: skip
        if self._start["registered_model"] is not None:
            register(client, self._start["registered_model"], logged)

    def _finish(self, client: MlflowClient, event: Event) -> None:
        self.stop_monitor()
        client.set_terminated(self._run_id, status=event["status"], end_time=event["time"])


class TrainingLogDataset(SettingsPreview, GivenDataset[TrainingLog]):
    """Where training runs are logged: the MLflow server of the project.

    Example:
        training_log: {type: ..., registered_model: biomedica-clip, path: data/.mlflow_outbox}
    """

    given_by = "a training writes to what it loads"

    def __init__(
        self,
        *,
        registered_model: str | None = None,
        upload_weights: bool = True,
        path: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See `MlflowTrainingLog`; path is its folder; metadata is kept for kedro-viz (layer)."""
        super().__init__(metadata=metadata)
        self._settings = {"registered_model": registered_model, "upload_weights": upload_weights, "path": path}
        folder = Path(path) if path is not None else None
        self._log = MlflowTrainingLog(registered_model, upload_weights=upload_weights, folder=folder)

    def load(self) -> TrainingLog:
        """The log; MLflow is reached when a training starts."""
        return self._log

    def send_waiting(self) -> None:
        """Send what trainings of earlier runs could not; see the function of that name."""
        if self._settings["path"] is not None:
            send_waiting(Path(str(self._settings["path"])))

    def _describe(self) -> dict[str, Any]:
        return dict(self._settings)


def _dataset_input(run: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = json.dumps({"num_rows": run["n_samples"]})
    dataset = Dataset(
        name=run["data_name"], digest=run["data_digest"][:36], source_type="local",
        source=json.dumps({"uri": run["data_name"]}), profile=profile,
    )  # fmt: skip
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
