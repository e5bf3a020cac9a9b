"""MLflow is set up by our hook alone, and its failure never stops a run."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import mlflow
import pytest
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks_entry_points

from biomedica_kedro.datasets.tracking_store import database_url
from biomedica_kedro.hooks import Journal, OneRunHooks, TrackingHooks
from biomedica_kedro.hooks.journal import Entry
from biomedica_kedro.hooks.tracking import run_name
from biomedica_kedro.settings import DISABLE_HOOKS_FOR_PLUGINS


@pytest.fixture
def context(tmp_path, monkeypatch):
    """What Kedro hands to hooks, of a project below tmp_path."""
    for name in ("BIOMEDICA_TRACKING_OFF", "BIOMEDICA_SESSION_ID"):
        monkeypatch.delenv(name, raising=False)
    before = mlflow.get_tracking_uri()
    experiment = {"name": "biomedica", "create_experiment_kwargs": {"artifact_location": "data/mlartifacts"}}
    settings = {
        "server": {"mlflow_tracking_uri": database_url(tmp_path / "data/mlflow.db")},
        "tracking": {"experiment": experiment},
    }
    yield SimpleNamespace(
        config_loader={"mlflow": settings}, project_path=tmp_path, _get_config_credentials=lambda: {}, mlflow=None
    )
    mlflow.set_tracking_uri(before)
    os.environ.pop("BIOMEDICA_TRACKING_OFF", None)


def test_hooks_of_kedro_mlflow_are_off():
    manager = _create_hook_manager()
    _register_hooks_entry_points(manager, DISABLE_HOOKS_FOR_PLUGINS)
    assert not [plugin for plugin in manager.get_plugins() if type(plugin).__module__.startswith("kedro_mlflow")]


def test_broken_database_is_one_warning_and_the_run_goes_on(context, tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mlflow.db").write_bytes(b"garbage" * 1000)
    hooks, started = TrackingHooks(Journal(), OneRunHooks()), time.monotonic()
    hooks.after_context_created(context)
    hooks.before_pipeline_run({}, None)
    hooks.record({}, None, None, status="FINISHED")
    assert time.monotonic() - started < 30
    assert [record.levelname for record in caplog.records if "MLflow" in record.message] == ["WARNING"]
    assert "this run: not recorded in MLflow, data work goes on." in caplog.text
    assert "mv '" in caplog.text
    assert context.mlflow.ui is not None  # `kedro mlflow ui` still finds its settings


def test_first_run_makes_the_experiments_in_the_order_of_the_readme(context, tmp_path):
    TrackingHooks(Journal(), OneRunHooks()).after_context_created(context)
    names = {one.experiment_id: one.name for one in mlflow.MlflowClient().search_experiments()}
    assert names == {"0": "Default", "1": "biomedica", "2": "biomedica/train", "3": "biomedica/benchmark"}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".mlflow.db.lock", "mlflow.db"]


def test_numbers_of_reports_are_recorded_whatever_their_names_hold(context, monkeypatch):
    names = ["scores/mean accuracy, 3 of 3 tasks/model", "a//b", "licence/CC BY 4.0 (50 %)", "../up", "Größe µm/x:1"]
    journal = Journal()
    entry = Entry(node="evaluation.compare_models", seconds=1.0, computed=1, numbers=dict.fromkeys(names, 0.5))
    monkeypatch.setattr(journal, "entries", lambda: [entry])
    hooks = TrackingHooks(journal, OneRunHooks())
    hooks.after_context_created(context)
    hooks.record({}, SimpleNamespace(inputs=set), None, status="FINISHED")

    (run,) = mlflow.MlflowClient().search_runs(["1"])
    assert set(run.data.metrics) == {
        "seconds/evaluation.compare_models", "scores/mean accuracy 3 of 3 tasks/model", "a/b",
        "licence/CC BY 4.0 50", "up", "Gr e m/x:1",
    }  # fmt: skip


def test_run_is_named_by_its_pipelines_in_the_order_of_the_work(monkeypatch):
    monkeypatch.setattr("biomedica_kedro.hooks.tracking.pipelines", {"ingestion": 1, "modeling": 2, "__default__": 3})
    assert run_name(["modeling", "ingestion"]) == "ingestion + modeling"
    assert run_name([]) == run_name(["__default__"]) == "all pipelines"


def test_page_of_the_run_is_kept_with_it(context, monkeypatch):
    journal = Journal()
    entry = Entry(node="evaluation.write_report", seconds=1.0, computed=1)
    monkeypatch.setattr(journal, "entries", lambda: [entry])
    hooks = TrackingHooks(journal, OneRunHooks())
    hooks.after_context_created(context)
    catalog = SimpleNamespace(load={"run_report": "<html>the run</html>"}.get)
    hooks.record({}, SimpleNamespace(inputs=set), catalog, status="FINISHED")

    (run,) = mlflow.MlflowClient().search_runs(["1"])
    assert run.data.tags["mlflow.note.content"].startswith("finished: 1 of 1 stages and reports computed in 1 s")
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report.html") == "<html>the run</html>"


@pytest.mark.parametrize("was_killed", [True, False])
def test_run_with_nothing_to_do_is_recorded_only_after_one_that_could_not_record_itself(was_killed, monkeypatch):
    one_run, recorded = OneRunHooks(), []
    one_run.follows_a_kill = was_killed
    hooks = TrackingHooks(Journal(), one_run)
    monkeypatch.setattr(hooks, "record", lambda *about, status: recorded.append(status))
    hooks.after_pipeline_run({}, None, None)
    assert recorded == ["FINISHED"] * was_killed
