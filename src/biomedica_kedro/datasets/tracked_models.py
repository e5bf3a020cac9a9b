"""Weights that MLflow knows: of a registered model, of a logged one, or of the run that made them.

A training keeps its weights as artifacts of its logged model, so that the next training, which writes to the same
place, does not take them away. Where they were not kept, the place that is recorded counts while its file is unchanged.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from biomedica_kedro.clip.checkpoints import find_checkpoint
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.stages.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_PATH_TAG, _SHA256_TAG = "weights.path", "weights.sha256"


def find_tracked(uri: str) -> Path:
    """The checkpoint that one of MLflow's names stands for.

    Args:
        uri: "models:/name@alias", "models:/name/version", "models:/ID of a logged model", or "runs:/ID".
    Returns:
        A folder or a weights file that `clip.checkpoints.find_checkpoint` reads.
    Raises:
        ModelError: when MLflow does not know the name, or the weights are no longer to be had.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        logged = client.get_logged_model(_logged_id(client, uri))
    except MlflowException as error:
        known = [f"models:/{name}@{alias}" for name, alias in _aliases(client)]
        raise ModelError(
            f"MLflow knows no model {uri!r}: {error.message}; it knows {', '.join(known) or 'none with an alias'}"
        ) from error
    return _kept(logged) or _in_place(logged, uri)


def _logged_id(client: MlflowClient, uri: str) -> str:
    kind, _, name = uri.partition(":/")
    if kind == "runs":
        run = client.get_run(name.strip("/").partition("/")[0])
        found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        if not found:
            raise ModelError(f"the run {run.info.run_id} of MLflow made no model: name the run of a training")
        return str(found[0].model_id)
    name = name.strip("/")
    if "@" in name:
        version = client.get_model_version_by_alias(*name.split("@", 1))
    elif "/" in name:
        version = client.get_model_version(*name.split("/", 1))
    else:
        return name
    return str(version.model_id or str(version.source).removeprefix("models:/"))


def _kept(logged: LoggedModel) -> Path | None:
    """The artifacts of a logged model, fetched where they lie elsewhere; None where the weights are not among them."""
    from mlflow.artifacts import download_artifacts

    folder = Path(download_artifacts(artifact_uri=logged.artifact_location))
    try:
        find_checkpoint(folder)
    except ModelError:
        return None
    return folder


def _in_place(logged: LoggedModel, uri: str) -> Path:
    """The file that a training wrote, while it is the same."""
    path, sha256 = Path(logged.tags.get(_PATH_TAG, "")), logged.tags.get(_SHA256_TAG)
    if not path.is_file():
        raise ModelError(f"the weights of {uri!r} were not kept in MLflow, and {path} is not there any more")
    if sha256_of(path) != sha256:
        raise ModelError(
            f"the weights of {uri!r} were not kept in MLflow, and {path} holds others now: train again, and leave "
            "`upload_weights` of training_log on"
        )
    return path


def _aliases(client: MlflowClient) -> list[tuple[str, str]]:
    return [(model.name, alias) for model in client.search_registered_models() for alias in model.aliases]
