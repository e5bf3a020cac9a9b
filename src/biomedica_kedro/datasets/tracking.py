"""MLflow runs beside the pipeline's own: where they go, what every run is tagged with, what happens when MLflow fails.

Runs are written through the client, never through MLflow's global "active run", so that a training run inside a
pipeline run cannot close or shadow it. Tracking never stops data work: what fails here becomes one warning.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from biomedica_kedro import __version__
from biomedica_kedro.datasets.tracking_store import TrackingError, check_store
from biomedica_kedro.shards.secrets import MASK, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

PIPELINE_EXPERIMENT = "biomedica"
TRAINING_EXPERIMENT = "biomedica/train"
BENCHMARK_EXPERIMENT = "biomedica/benchmark"
EXPERIMENTS = (PIPELINE_EXPERIMENT, TRAINING_EXPERIMENT, BENCHMARK_EXPERIMENT)

PROCESS_TAG = "biomedica.process"

# Kept in the environment, which the processes of a run share: the id of the `kedro run`, and that MLflow has failed it.
_SESSION = "BIOMEDICA_SESSION_ID"
_OFF = "BIOMEDICA_TRACKING_OFF"

# Backslashes, commas, percent signs: MLflow refuses such a metric, and with it all that are sent together.
_NOT_IN_METRIC = re.compile(r"\s*[^\w.: -]+\s*", re.ASCII)

_SECRET = r"(?:token|key|secret|password|passphrase|credentials)"
_ASSIGNED = re.compile(rf"(?i)([\w.-]*{_SECRET}\s*[=:]\s*)[^,\s]+")
_OPTION = re.compile(rf"(?i)--?[\w.-]*{_SECRET}")
_IS_SECRET = re.compile(rf"(?i){_SECRET}\Z")


def begin(session: str) -> None:
    """A `kedro run` begins: runs of its stages carry its id, and tracking is tried anew."""
    os.environ[_SESSION] = session
    os.environ.pop(_OFF, None)


def switch_off() -> None:
    """Do without MLflow for the rest of this run; that it failed has been told."""
    os.environ[_OFF] = "1"


def is_off() -> bool:
    """Whether this run does without MLflow."""
    return _OFF in os.environ


@contextmanager
def warned(what: str, *, switches_off: bool = False) -> Iterator[None]:
    """Turn a failure of MLflow into a warning: data work goes on.

    Args:
        what: what is then not recorded, for the message: "this run".
        switches_off: do without MLflow from then on.
    """
    try:
        yield
    except tracking_errors() as error:
        if not is_off():
            logger.warning("%s: not recorded in MLflow, data work goes on. %s", what, first_line(error))
        if switches_off:
            switch_off()


@cache
def tracking_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises when its store cannot be reached, is broken, locked or full."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return TrackingError, MlflowException, SQLAlchemyError, RequestException, CommandError, OSError


def first_line(error: BaseException) -> str:
    """The first line of an error's text, secrets masked: SQLAlchemy adds the statement and a link."""
    return masked((str(error) or type(error).__name__).splitlines()[0])


def connect() -> MlflowClient:
    """The client, once its store is known to answer.

    Raises:
        TrackingError: within seconds, when it does not, or when this run does without MLflow.
    """
    import mlflow

    if is_off():
        raise TrackingError("this run does without MLflow")
    check_store(mlflow.get_tracking_uri())
    return mlflow.MlflowClient()


def experiment(name: str) -> tuple[MlflowClient, str]:
    """Client and id of an experiment, made when absent beside the pipeline experiment's artifacts.

    Args:
        name: one of the constants of this module, or a user's own.
    Raises:
        TrackingError: see `connect`.
    """
    client = connect()
    known = client.get_experiment_by_name(name)
    if known is not None:
        return client, known.experiment_id
    pipeline = client.get_experiment_by_name(PIPELINE_EXPERIMENT)
    return client, make_experiment(client, name, pipeline.artifact_location if pipeline is not None else None)


def make_experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """Make an experiment, unless another process was faster; gives its id."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name, artifact_location=artifacts))
    except MlflowException:
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return str(known.experiment_id)


def metric_name(name: str) -> str:
    """A metric's name as MLflow takes it: "scores/mean, 3 of 3" is "scores/mean 3 of 3"."""
    parts = (_NOT_IN_METRIC.sub(" ", part).strip(" .") for part in name.split("/"))
    return "/".join(part for part in parts if part)


def close_dead_runs(client: MlflowClient) -> list[str]:
    """Mark as killed the runs of this machine whose process is gone; gives their ids."""
    found = [client.get_experiment_by_name(name) for name in EXPERIMENTS]
    running = client.search_runs([one.experiment_id for one in found if one is not None], "attributes.status='RUNNING'")
    dead = [run.info.run_id for run in running if is_dead(run.data.tags.get(PROCESS_TAG, ""))]
    for run_id in dead:
        client.set_terminated(run_id, status="KILLED")
    return dead


def active_run_tags() -> dict[str, str]:
    """Tags for any run: provenance, its process, and the id of the `kedro run` it belongs to when there is one."""
    session = os.environ.get(_SESSION)
    return {**provenance_tags(), PROCESS_TAG: process_id(), **({"kedro.session_id": session} if session else {})}


def process_id() -> str:
    """This process: host, number, and the second it began, since numbers are used again."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_dead(process: str) -> bool:
    """Whether a process, told by `process_id`, ran on this machine and is gone."""
    host, _, rest = process.partition(" ")
    number, _, began = rest.partition(" ")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        return bool(abs(psutil.Process(int(number)).create_time() - float(began)) > 2)
    except (psutil.NoSuchProcess, ValueError):
        return True


def command_line(arguments: Sequence[str]) -> str:
    """A command line as one text; values of options and parameters that say token, key, secret, password are masked."""
    told = [masked(argument) for argument in arguments]
    for number, argument in enumerate(told[:-1]):
        if _OPTION.fullmatch(argument) and not told[number + 1].startswith("-"):
            told[number + 1] = MASK
    return shlex.join(told)


def masked(text: str) -> str:
    """A text without the values of what says token, key, secret, password, and without what opens a URL."""
    return str(without_secrets(_ASSIGNED.sub(rf"\1{MASK}", text)))


def masked_value(name: str, value: object) -> str:
    """A parameter's value as text; masked when its name says so."""
    return MASK if value and _IS_SECRET.search(name) else masked(str(value))


@cache
def provenance_tags() -> dict[str, str]:
    """What produced a run: code version, git commit and whether it was dirty, lock digest, command line."""
    root = Path(__file__).resolve().parents[3]
    lock = root / "requirements.lock"
    command = command_line([Path(sys.argv[0]).name, *sys.argv[1:]])
    tags = {"biomedica.version": __version__, "biomedica.command": command}
    if lock.is_file():
        tags["biomedica.lock_sha256"] = hashlib.sha256(lock.read_bytes()).hexdigest()
    commit = _git(root, "rev-parse", "HEAD")
    if commit:
        tags["git.sha"] = commit
        tags["git.dirty"] = str(bool(_git(root, "status", "--porcelain"))).lower()
    return tags


def _git(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
