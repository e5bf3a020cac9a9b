"""MLflow's dashboard on loopback, opened on the comparison of the models measured last.

python -m biomedica_kedro.dashboard                  serve, and open the page
python -m biomedica_kedro.dashboard --no-browser     serve, and say where

One server process is enough for one person. A dashboard that runs already is told, not started again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.config import OmegaConfigLoader

from biomedica_kedro.datasets import tracking
from biomedica_kedro.datasets.tracking_store import database_of
from biomedica_kedro.settings import CONFIG_LOADER_ARGS, PROJECT_PATH

_SECONDS = 120.0
_MOST_COMPARED = 6
_VERSION = re.compile(r"\d+\.\d+")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the dashboard."""
    options = _parser().parse_args(arguments)
    loader = OmegaConfigLoader(str(PROJECT_PATH / "conf"), env=options.env, **CONFIG_LOADER_ARGS)
    uri, where = str(loader["mlflow"]["server"]["mlflow_tracking_uri"]), loader["mlflow"].get("ui", {})
    host, port = str(where.get("host", "127.0.0.1")), int(options.port or where.get("port", 5001))
    database = database_of(uri)
    if database is not None and not database.is_file():
        raise SystemExit(f"nothing has been tracked in {database} yet: kedro run")
    is_remote = uri.startswith(("http://", "https://"))
    address = uri.rstrip("/") if is_remote else f"http://{host}:{port}"
    page = address + newest_comparison(uri)
    if is_remote or runs_at(address):
        _tell(f"The dashboard runs already: {page}", page, opens=not options.no_browser)
        return
    if _is_taken(host, port):
        raise SystemExit(f"port {port} of {host} is taken by something that is not MLflow: name another with --port")
    server = _serve(uri, host, port)
    try:
        _wait_for(server, address)
        _tell(f"The dashboard is at {page}", page, opens=not options.no_browser)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


def newest_comparison(uri: str) -> str:
    """Where the dashboard compares the newest benchmark run of each model; the list of runs where there are not two.

    Args:
        uri: of the tracking store.
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(tracking.BENCHMARK_EXPERIMENT)
    if experiment is None:
        return "/#/experiments"
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=200)
    return comparison(experiment.experiment_id, [(run.info.run_id, run.info.run_name, run.data.tags) for run in found])


def comparison(experiment: str, runs: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Path of the page that compares runs.

    Args:
        experiment: id of their experiment.
        runs: id, name and tags, newest first; of each name the first counts, children of a run do not.
    """
    newest: dict[str, str] = {}
    for run, name, tags in runs:
        if "mlflow.parentRunId" not in tags:
            newest.setdefault(name, run)
    chosen = list(newest.values())[:_MOST_COMPARED]
    if len(chosen) < 2:
        return f"/#/experiments/{experiment}/runs"
    return f"/#/compare-runs?runs={quote(json.dumps(chosen))}&experiments={quote(json.dumps([experiment]))}"


def runs_at(address: str) -> bool:
    """Whether MLflow answers at an address."""
    try:
        with urllib.request.urlopen(f"{address}/version", timeout=5) as answer:
            return _VERSION.match(answer.read(40).decode(errors="replace")) is not None
    except OSError:
        return False


def _serve(uri: str, host: str, port: int) -> subprocess.Popen[bytes]:
    command = [
        str(Path(sys.executable).with_name("mlflow")), "server", "--backend-store-uri", uri, "--host", host,
        "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    # Jobs of its own would be three more processes
    return subprocess.Popen(command, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not runs_at(address):
        if server.poll() is not None:
            raise SystemExit(f"MLflow ended with status {server.returncode} before it answered: see its words above")
        if time.monotonic() > deadline:
            raise SystemExit(f"MLflow did not answer at {address} within {_SECONDS:.0f} s: try again")
        time.sleep(0.5)


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _tell(words: str, page: str, *, opens: bool) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
    if opens:
        webbrowser.open(page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m biomedica_kedro.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--env", help="the environment whose mlflow.yml counts; by default the project's own")
    parser.add_argument("--port", type=int, help="port on this machine; by default that of mlflow.yml")
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    return parser


if __name__ == "__main__":
    main()
