"""One MLflow run per `kedro run` that did something: parameters, stage timings, rows, rejects, digests, provenance.

kedro-mlflow brings the configuration and `kedro mlflow ui`; its own run is switched off (conf/base/mlflow.yml), because
it logs a pydantic parameter as one unsearchable string, leaves a run behind when there was nothing to do, and rebuilds
the command line without its parameters. Training and benchmark runs are written by their own data sets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import BaseModel

from biomedica_kedro.datasets import tracking
from biomedica_kedro.hooks.journal import Entry, Journal

if TYPE_CHECKING:
    from mlflow.entities import Metric

_LONGEST_VALUE = 500


class TrackingHooks:
    """Record the run when it ends, well or badly."""

    def __init__(self, journal: Journal) -> None:
        """Args: journal: of the run."""
        self._journal = journal
        self._started_ms = 0

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Runs of the pipeline's stages carry the session's id."""
        self._started_ms = int(time.time() * 1000)
        tracking.SESSION_ID.set(str(run_params.get("run_id") or ""))
        for name in (tracking.PIPELINE_EXPERIMENT, tracking.TRAINING_EXPERIMENT, tracking.BENCHMARK_EXPERIMENT):
            tracking.experiment(name)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Record a finished run, unless there was nothing to do."""
        if any(entry.computed for entry in self._journal.entries()):
            self._record(run_params, pipeline, catalog, status="FINISHED")

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Record a failed run with its error."""
        self._record(run_params, pipeline, catalog, status="FAILED", error=str(error)[:_LONGEST_VALUE])

    def _record(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        *,
        status: str,
        error: str = "",
    ) -> None:
        from mlflow.entities import Param, RunTag

        client, experiment_id = tracking.experiment(tracking.PIPELINE_EXPERIMENT)
        name = "+".join(run_params.get("pipeline_names") or ["__default__"])
        run = client.create_run(experiment_id, start_time=self._started_ms, run_name=name)
        entries = self._journal.entries()
        folders = {name: catalog.load(name) for entry in entries for name in entry.rows}
        tags = tracking.active_run_tags() | {
            f"digest.{name}": folder.digest() for name, folder in folders.items() if folder.is_complete()
        }
        if error:
            tags["error"] = error
        client.log_batch(
            run.info.run_id,
            metrics=list(_metrics(entries)),
            params=[Param(key, value) for key, value in dict(_parameters(pipeline, catalog)).items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        client.set_terminated(run.info.run_id, status=status)


def _metrics(entries: Sequence[Entry]) -> Iterator[Metric]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for entry in entries:
        values = {f"seconds/{entry.node}": entry.seconds, **entry.numbers}
        values |= {f"rows/{name}": n for name, n in entry.rows.items()}
        values |= {f"rejects/{name}/{why}": n for name, reasons in entry.rejects.items() for why, n in reasons.items()}
        for key, value in values.items():
            yield Metric(key, value, now, 0)


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
        yield name, str(value)[:_LONGEST_VALUE]
