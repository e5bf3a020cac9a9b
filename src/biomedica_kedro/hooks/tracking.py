"""One MLflow run per `kedro run` that did something: parameters, stage timings, rows, rejects, digests, provenance.

kedro-mlflow brings the configuration and `kedro mlflow ui`; its hooks are switched off (settings.py), because they stop
a run whose tracking store does not answer, log a pydantic parameter as one unsearchable string, and leave a run behind
when there was nothing to do. Training and benchmark runs are written by their own data sets. Whatever MLflow does, the
data work goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import BaseModel

from biomedica_kedro.datasets import tracking
from biomedica_kedro.datasets.tracking_store import prepare_store
from biomedica_kedro.datasets.training_log import TrainingLogDataset
from biomedica_kedro.hooks.journal import Entry, Journal
from biomedica_kedro.hooks.one_run import OneRunHooks

if TYPE_CHECKING:
    from mlflow.entities import Metric

_LONGEST_VALUE = 500
_REPORTING, _REPORT = "evaluation.write_report", "run_report"


class TrackingHooks:
    """Record the run when it ends, well or badly."""

    def __init__(self, journal: Journal, one_run: OneRunHooks) -> None:
        """Args: journal: of the run; one_run: the hooks that know how the run before ended."""
        self._journal, self._one_run = journal, one_run
        self._started_ms = 0

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Make the project's database when it has none, and let MLflow know where it is."""
        from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig

        # What MLflow would wait for a server that is away, in its own default: minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        config = KedroMlflowConfig.model_validate(context.config_loader["mlflow"])
        context.__setattr__("mlflow", config)  # `kedro mlflow ui` and notebooks look for it there
        artifacts = config.tracking.experiment.create_experiment_kwargs.artifact_location
        if artifacts is not None and "://" not in artifacts:
            artifacts = (Path(context.project_path) / artifacts).as_uri()
        tracking.begin("")
        with tracking.warned("this run", switches_off=True):
            uri = config.server.mlflow_tracking_uri or ""
            prepare_store(uri, Path(context.project_path), lambda new: make_experiments(new, artifacts))
            config.setup(context)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: CatalogProtocol[Any, Any]) -> None:
        """Close what killed runs left open, and send what earlier runs could not."""
        self._started_ms = int(time.time() * 1000)
        if tracking.is_off():
            return
        tracking.begin(str(run_params.get("run_id") or ""))
        with tracking.warned("what earlier runs left"):
            for name in tracking.EXPERIMENTS:
                client, _ = tracking.experiment(name)
            log = catalog.get("training_log")
            if isinstance(log, TrainingLogDataset):
                log.send_waiting()
            tracking.close_dead_runs(client)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Record a finished run, unless there was nothing to do and the run before recorded itself."""
        if self._one_run.follows_a_kill or any(entry.computed for entry in self._journal.entries()):
            self.record(run_params, pipeline, catalog, status="FINISHED")

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Record a failed run with its error."""
        self.record(run_params, pipeline, catalog, status="FAILED", error=str(error)[:_LONGEST_VALUE])

    def record(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        *,
        status: str,
        error: str = "",
    ) -> None:
        """Write the run, unless MLflow fails: then say so."""
        with tracking.warned("this run"):
            self._write(run_params, pipeline, catalog, status, error)

    def _write(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        status: str,
        error: str,
    ) -> None:
        from mlflow.entities import Param

        client, experiment_id = tracking.experiment(tracking.PIPELINE_EXPERIMENT)
        entries = self._journal.entries()
        folders = {name: catalog.load(name) for entry in entries for name in entry.rows}
        tags = tracking.active_run_tags()
        if error:
            tags["error"] = tracking.masked(error)
        tags["mlflow.note.content"] = _description(entries, status)
        name = run_name(run_params.get("pipeline_names") or [])
        run = client.create_run(experiment_id, start_time=self._started_ms, run_name=name, tags=tags)
        client.log_batch(
            run.info.run_id,
            metrics=list(_metrics(entries)),
            params=[Param(key, value) for key, value in dict(_parameters(pipeline, catalog)).items()],
        )
        digests = {name: folder.digest() for name, folder in folders.items() if folder.is_complete()}
        client.log_dict(run.info.run_id, digests, "digests.json")
        if any(entry.node == _REPORTING and not entry.error for entry in entries):
            client.log_text(run.info.run_id, catalog.load(_REPORT), "report.html")
        client.set_terminated(run.info.run_id, status=status)


def run_name(given: Sequence[str]) -> str:
    """Name of a run: the pipelines it ran, in the order of the work, whatever order they were given in."""
    if not given or "__default__" in given:
        return "all pipelines"
    return " + ".join(name for name in pipelines if name in given)


def _description(entries: Sequence[Entry], status: str) -> str:
    """What a run did, for the page of the run."""
    rows = {name: n for entry in entries if entry.computed for name, n in entry.rows.items()}
    made = "".join(f"\n- {n:,} {name.replace('_', ' ')}" for name, n in rows.items() if n)
    n_computed, seconds = sum(entry.computed > 0 for entry in entries), sum(entry.seconds for entry in entries)
    return f"{status.lower()}: {n_computed} of {len(entries)} stages and reports computed in {seconds:.0f} s{made}"


def make_experiments(uri: str, artifacts: str | None) -> None:
    """Make a database's tables and the experiments, in the order of their numbers in the README.

    Args:
        uri: address of the database.
        artifacts: URL of the folder for artifacts.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for name in tracking.EXPERIMENTS:
        tracking.make_experiment(client, name, artifacts)


def _metrics(entries: Sequence[Entry]) -> Iterator[Metric]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for entry in entries:
        values = {f"seconds/{entry.node}": entry.seconds, **entry.numbers}
        values |= {f"rows/{name}": n for name, n in entry.rows.items()}
        values |= {f"rejects/{name}/{why}": n for name, reasons in entry.rejects.items() for why, n in reasons.items()}
        for key, value in values.items():
            yield Metric(tracking.metric_name(key), value, now, 0)


def _parameters(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> Iterator[tuple[str, str]]:
    """Every parameter the pipeline reads, flattened: ("modeling.train_clip.steps", "160"); some come twice, alike."""
    for name in sorted(pipeline.inputs()):
        if name.startswith("params:"):
            yield from _flat(name.removeprefix("params:"), catalog.load(name))


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(f"{name}.{key}", item)
    else:
        yield name, tracking.masked_value(name, value)[:_LONGEST_VALUE]
