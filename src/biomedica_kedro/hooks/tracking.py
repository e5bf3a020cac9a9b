"""One MLflow run per `kedro run` that did something: parameters, stage timings, rows, rejects, digests, provenance.

kedro-mlflow brings the configuration and `kedro mlflow ui`; its own run is switched off (conf/base/mlflow.yml), because
it logs a pydantic parameter as one unsearchable string, leaves a run behind when there was nothing to do, and rebuilds
the command line without its parameters. Training and benchmark runs are written by their own data sets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel

from biomedica_kedro.batches import BatchFolder
from biomedica_kedro.datasets import tracking
from biomedica_kedro.hooks.journal import Journal, count_rejects

if TYPE_CHECKING:
    from mlflow.entities import Metric

_LONGEST_VALUE = 500


class TrackingHooks:
    """Record the run when it ends, well or badly."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._started_ms = 0

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Begin a journal; runs of its stages carry the session's id."""
        self._journal = Journal()
        self._started_ms = int(time.time() * 1000)
        tracking.SESSION_ID.set(str(run_params.get("run_id") or ""))
        for name in (tracking.PIPELINE_EXPERIMENT, tracking.TRAINING_EXPERIMENT, tracking.BENCHMARK_EXPERIMENT):
            tracking.experiment(name)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Note the start of a stage: its first input is loaded."""
        self._journal.begin(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Note an output."""
        self._journal.saved(dataset_name, data)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Record a finished run, unless there was nothing to do."""
        if not self._journal.is_nothing_done:
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
        folders = {d: catalog.load(d) for d in self._journal.rows() if d in catalog}
        tags = tracking.active_run_tags() | {
            f"digest.{d}": folder.digest() for d, folder in folders.items() if folder.is_complete()
        }
        if error:
            tags["error"] = error
        client.log_batch(
            run.info.run_id,
            metrics=list(self._metrics(folders)),
            params=[Param(key, value) for key, value in _parameters(pipeline, catalog)],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        client.set_terminated(run.info.run_id, status=status)

    def _metrics(self, folders: dict[str, BatchFolder]) -> Iterator[Metric]:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = {f"seconds/{stage.node}": stage.seconds for stage in self._journal.stages}
        values |= {f"rows/{name}": float(n) for name, n in self._journal.rows().items()}
        values |= self._journal.numbers
        for name, folder in folders.items():
            values |= {f"rejects/{name}/{reason}": float(n) for reason, n in count_rejects(folder).items()}
        for key, value in values.items():
            yield Metric(key, value, now, 0)


def _parameters(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> Iterator[tuple[str, str]]:
    """Every parameter the pipeline reads, flattened: ("modeling.train_clip.steps", "160")."""
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
