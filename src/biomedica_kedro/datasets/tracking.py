"""MLflow runs beside the pipeline's own: where they go and what every run is tagged with.

Runs are written through the client, never through MLflow's global "active run", so that a training run inside a
pipeline run cannot close or shadow it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from biomedica_kedro import __version__
from biomedica_kedro.shards.secrets import command_without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

PIPELINE_EXPERIMENT = "biomedica"
TRAINING_EXPERIMENT = "biomedica/train"
BENCHMARK_EXPERIMENT = "biomedica/benchmark"

# Set by the hooks when a `kedro run` begins.
SESSION_ID: ContextVar[str] = ContextVar("SESSION_ID", default="")


def experiment(name: str) -> tuple[MlflowClient, str]:
    """Client and id of an experiment, made when absent beside the pipeline experiment's artifacts.

    Args:
        name: one of the constants of this module, or a user's own.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    known = client.get_experiment_by_name(name)
    if known is not None:
        return client, known.experiment_id
    pipeline = client.get_experiment_by_name(PIPELINE_EXPERIMENT)
    location = pipeline.artifact_location if pipeline is not None else None
    return client, client.create_experiment(name, artifact_location=location)


def active_run_tags() -> dict[str, str]:
    """Tags for any run: provenance, and the id of the `kedro run` it belongs to when there is one."""
    session = SESSION_ID.get()
    return {**provenance_tags(), **({"kedro.session_id": session} if session else {})}


@cache
def provenance_tags() -> dict[str, str]:
    """What produced a run: code version, git commit and whether it was dirty, lock digest, full command line."""
    root = Path(__file__).resolve().parents[3]
    lock = root / "requirements.lock"
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    tags = {"biomedica.version": __version__, "biomedica.command": command_without_secrets(command)}
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
