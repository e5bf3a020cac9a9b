"""Tracking never stops data work, closes what killed runs left, and keeps secrets."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from biomedica_kedro.datasets import tracking
from biomedica_kedro.datasets.tracking_store import TrackingError


@pytest.fixture(autouse=True)
def on(monkeypatch):
    monkeypatch.delenv("BIOMEDICA_TRACKING_OFF", raising=False)
    monkeypatch.delenv("BIOMEDICA_SESSION_ID", raising=False)


@pytest.mark.parametrize("error", [MlflowException("no\nmore"), TrackingError("no"), OSError("no")])
def test_failure_is_one_warning_of_one_line(error, caplog):
    with tracking.warned("this run"):
        raise error
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "this run: not recorded in MLflow, data work goes on. no"


def test_faults_of_our_own_are_not_hidden():
    with pytest.raises(KeyError), tracking.warned("this run"):
        raise KeyError("a programming error")


def test_run_without_mlflow_says_so_once(caplog):
    with tracking.warned("this run", switches_off=True):
        raise TrackingError("broken")
    with tracking.warned("the benchmark"):
        tracking.experiment(tracking.BENCHMARK_EXPERIMENT)
    assert len(caplog.records) == 1
    tracking.begin("session")
    assert not tracking.is_off()
    assert tracking.active_run_tags()["kedro.session_id"] == "session"


def test_process_that_is_gone_is_dead_and_others_are_not():
    program = "from biomedica_kedro.datasets import tracking; print(tracking.process_id())"
    gone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    host, number, began = tracking.process_id().rsplit(" ", 2)
    assert tracking.is_dead(gone)
    assert not tracking.is_dead(tracking.process_id())
    assert tracking.is_dead(f"{host} {number} {int(began) - 3600}")  # the number was given to another process
    assert not tracking.is_dead(f"elsewhere {number} {began}")
    assert not tracking.is_dead("")


def test_runs_of_killed_processes_are_closed(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setattr(tracking, "is_dead", lambda process: process == "dead")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment(tracking.TRAINING_EXPERIMENT)
    dead, living, foreign = (
        client.create_run(experiment, tags=tags).info.run_id
        for tags in ({tracking.PROCESS_TAG: "dead"}, {tracking.PROCESS_TAG: "living"}, {})
    )
    assert tracking.close_dead_runs(client) == [dead]
    status = {run.info.run_id: run.info.status for run in client.search_runs([experiment])}
    assert status == {dead: "KILLED", living: "RUNNING", foreign: "RUNNING"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["kedro", "run", "--params=entrez.api_key=abc,steps=3"], "kedro run '--params=entrez.api_key=***,steps=3'"),
        (["kedro", "run", "--params", "password: abc"], "kedro run --params 'password: ***'"),
        (["kedro", "--token", "abc", "run"], "kedro --token '***' run"),
        (["kedro", "--hub-token=abc"], "kedro '--hub-token=***'"),
        (["x", "s3://me:abc@host/b"], "x 's3://***@host/b'"),
        (["kedro", "run", "--params=text.max_tokens=77,n=1"], "kedro run --params=text.max_tokens=77,n=1"),
    ],
)
def test_secrets_on_the_command_line_are_masked(arguments, told):
    assert tracking.command_line(arguments) == told


def test_secrets_among_parameters_are_masked():
    assert tracking.masked_value("entrez.api_key", "abc") == "***"
    assert tracking.masked_value("hub.secret", None) == "None"
    assert tracking.masked_value("text.max_tokens", 77) == "77"
    assert tracking.masked_value("source", "https://me:abc@host") == "https://***@host"


@pytest.mark.parametrize(
    "setting",
    ["a.storage.token=s3cret", "a.storage={token: s3cret}", "x.aws_secret_access_key=s3cret", "u=https://h/a?s=s3cret"],
)
def test_settings_of_a_place_are_masked(setting):
    command = f"kedro run --env=published --params={setting},modeling.steps=3"
    told = tracking.masked(command)
    assert "s3cret" not in told and told.startswith("kedro run --env=published")
