"""`make mlflow`: opens on the comparison of the newest models, and is not started twice."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote

import mlflow
import pytest

from biomedica_kedro.dashboard.__main__ import comparison, main, newest_comparison, runs_at
from biomedica_kedro.datasets.tracking_store import database_url


@pytest.fixture
def project(tmp_path) -> Path:
    """A project in which something has been tracked."""
    uri = database_url(tmp_path / "data" / "mlflow.db")
    (tmp_path / "data").mkdir()
    mlflow.MlflowClient(uri).create_experiment("biomedica/benchmark")
    (tmp_path / "conf/base").mkdir(parents=True)
    (tmp_path / "conf/local").mkdir()
    settings = f"server: {{mlflow_tracking_uri: '{uri}'}}\nui: {{port: '5001', host: 127.0.0.1}}\n"
    (tmp_path / "conf/base/mlflow.yml").write_text(settings)
    return tmp_path


@pytest.fixture
def server():
    """Something that answers as MLflow does, or not; its address by what it says of its version."""
    started = []

    def serve(version: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(version)

            def log_message(self, *words):
                pass

        found = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=found.serve_forever, daemon=True).start()
        started.append(found)
        return f"http://127.0.0.1:{found.server_port}"

    yield serve
    for each in started:
        each.shutdown()
        each.server_close()


def test_newest_run_of_each_model_is_compared_and_no_child():
    runs = [
        ("3", "child", {"mlflow.parentRunId": "2"}), ("2", "clip@suite", {}), ("1", "clip@suite", {}),
        ("0", "untrained@suite", {}),
    ]  # fmt: skip
    assert unquote(comparison("7", runs)) == '/#/compare-runs?runs=["2", "0"]&experiments=["7"]'


def test_one_model_alone_is_shown_in_the_list_of_runs():
    assert comparison("7", [("2", "clip@suite", {}), ("1", "clip@suite", {})]) == "/#/experiments/7/runs"
    assert comparison("7", []) == "/#/experiments/7/runs"


def test_store_is_asked_for_its_benchmark(tmp_path):
    uri = database_url(tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(uri)
    assert newest_comparison(uri) == "/#/experiments"
    experiment = client.create_experiment("biomedica/benchmark")
    runs = [client.create_run(experiment, run_name=name).info.run_id for name in ("a", "b")]
    assert all(run in newest_comparison(uri) for run in runs)


def test_only_mlflow_is_taken_for_mlflow(server):
    assert runs_at(server(b"3.17.2"))
    assert not runs_at(server(b"<html>something else</html>"))
    assert not runs_at("http://127.0.0.1:9")


@pytest.fixture
def asked(monkeypatch, project):
    monkeypatch.setattr("biomedica_kedro.dashboard.__main__.PROJECT_PATH", project)
    monkeypatch.setattr("biomedica_kedro.dashboard.__main__.newest_comparison", lambda uri: "/#/experiments/3/runs")


def test_dashboard_that_runs_is_told_and_not_started_again(server, asked, capsys, monkeypatch):
    address = server(b"3.17.2")
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    main(["--no-browser", "--port", address.rpartition(":")[2]])
    assert capsys.readouterr().err == f"The dashboard runs already: {address}/#/experiments/3/runs\n"


def test_port_of_something_else_is_an_error_that_says_what_to_do(server, asked):
    port = server(b"hello").rpartition(":")[2]
    with pytest.raises(SystemExit, match=f"port {port} of 127.0.0.1 is taken by something that is not MLflow: name"):
        main(["--no-browser", "--port", port])


def test_dashboard_serves_with_one_worker(serve, project):
    url = serve(
        "env", f"BIOMEDICA_PROJECT_PATH={project}", sys.executable, "-m", "biomedica_kedro.dashboard", "--no-browser",
        "--port", "{port}", cwd=project, path="/version", seconds=240,
    )  # fmt: skip
    assert runs_at(url)


def test_nothing_tracked_is_said(project, asked):
    (project / "data" / "mlflow.db").unlink()
    with pytest.raises(SystemExit, match=r"nothing has been tracked in .*mlflow\.db yet: kedro run"):
        main(["--no-browser"])
