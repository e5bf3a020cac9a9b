"""Trained models in MLflow: logged with their files, registered, and found again by what MLflow calls them.

A logged model holds what open_clip opens as a folder, and MLflow's own description of it, so that
`mlflow.pyfunc.load_model("models:/biomedica-clip@champion")` works. It remembers where the training left its files: as
long as they are there, they are what is read.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedica_kedro.clip.open_clip_folder import open_clip_files
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.stages.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

WEIGHTS_TAG = "weights.sha256"
_PATH_TAG = "weights.path"
_LOADER = "biomedica_kedro.clip.served"
_RUN = re.compile(r"^(?:runs:/)?(?P<id>[0-9a-f]{32})(?:/.*)?$")
_LOGGED = re.compile(r"^models:/(?P<id>m-[0-9a-f]{32})$")
_VERSION = re.compile(r"^models:/(?P<name>[^@/]+)(?:@(?P<alias>.+)|/(?P<version>\d+))$")
FORMS = "models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID, or a run's id"


class RegistryError(ModelError):
    """MLflow does not know a model, or its files are gone; says what was asked for and what to do."""


def is_tracked(name: str) -> bool:
    """Whether a name is one that `checkpoint_folder` looks up."""
    return name.startswith("models:/") or _RUN.match(name) is not None


def log_model(
    client: MlflowClient, run_id: str, weights: Path, config: Path, metrics: Mapping[str, float], *, step: int,
    time: int, upload: bool = True,
) -> LoggedModel:  # fmt: skip
    """Keep a trained model with its run, once: what a kill left half told is finished.

    Args:
        client: of the tracking server.
        run_id: of the training.
        weights: a safetensors file, whose folder open_clip opens.
        config: its JSON file.
        metrics: of the weights.
        step: they were measured at.
        time: milliseconds since 1970 of that step.
        upload: copy the weights to the server; off, only where they lie is recorded.
    """
    from mlflow.entities import LoggedModelStatus, Metric

    tags = {WEIGHTS_TAG: sha256_of(weights), _PATH_TAG: str(weights.resolve())}
    experiment_id = client.get_run(run_id).info.experiment_id
    logged = _of_run(client, experiment_id, run_id, tags[WEIGHTS_TAG]) or client.create_logged_model(
        experiment_id, name="clip", source_run_id=run_id, tags=tags, model_type="clip"
    )
    if logged.status == LoggedModelStatus.READY:
        return logged
    files = {config, *open_clip_files(weights.parent)}
    if not any(path.suffix == weights.suffix for path in files):
        files.add(weights)
    for path in sorted(files):
        if upload or path.suffix != weights.suffix:
            client.log_model_artifact(logged.model_id, str(path))
    if upload:
        _describe(client, logged.model_id, run_id)
    known = {name: _time_of(client, run_id, name, step) or time for name in metrics}  # told again, it counts once
    last = [Metric(name, value, known[name], step, model_id=logged.model_id) for name, value in metrics.items()]
    client.log_batch(run_id, metrics=last)
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _time_of(client: MlflowClient, run_id: str, metric: str, step: int) -> int | None:
    return next((point.timestamp for point in client.get_metric_history(run_id, metric) if point.step == step), None)


def _of_run(client: MlflowClient, experiment_id: str, run_id: str, sha256: str) -> LoggedModel | None:
    found = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    return next((model for model in found if model.tags.get(WEIGHTS_TAG) == sha256), None)


def register(client: MlflowClient, name: str, logged: LoggedModel) -> None:
    """Make a logged model the newest version of a registered one, unless it is one already, and its candidate."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {tag: logged.tags[tag] for tag in (WEIGHTS_TAG, _PATH_TAG)}
    run_id = logged.source_run_id
    versions = [version for version in client.search_model_versions(f"name = '{name}'") if version.run_id == run_id]
    version = next(
        (version for version in versions if version.tags.get(WEIGHTS_TAG) == tags[WEIGHTS_TAG]), None
    ) or client.create_model_version(
        name, source=f"models:/{logged.model_id}", run_id=run_id, tags=tags, model_id=logged.model_id
    )
    client.set_registered_model_alias(name, "candidate", version.version)


def checkpoint_folder(name: str) -> Path:
    """Folder of a model's files, by what MLflow calls it.

    Args:
        name: see `FORMS`; of a run, the model it logged last.
    Returns:
        The training's own folder as long as it holds these weights, else the files that were uploaded, fetched.
    Raises:
        RegistryError: when there is no such model, or its weights are nowhere.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        uri, tags = _found(name)
        weights = Path(tags.get(_PATH_TAG, ""))
        if weights.is_file() and sha256_of(weights) == tags.get(WEIGHTS_TAG):
            return weights.parent
        folder = Path(download_artifacts(artifact_uri=uri))
    except MlflowException as error:
        raise RegistryError(f"MLflow does not give the model {name}: {error}; models are named {FORMS}") from error
    if not any(folder.glob("*.safetensors")):
        raise RegistryError(
            f"the weights of {name} are gone: {weights} does not hold them any more, and they were not uploaded "
            "(training_log.upload_weights)"
        )
    return folder


def _found(name: str) -> tuple[str, Mapping[str, str]]:
    """URI of the files that a name means, and the tags of the model."""
    from mlflow import MlflowClient

    client = MlflowClient()
    if named := _VERSION.match(name):
        given: Any = (named["name"], named["alias"] or named["version"])
        version = (client.get_model_version_by_alias if named["alias"] else client.get_model_version)(*given)
        return f"models:/{version.name}/{version.version}", version.tags
    if logged := _LOGGED.match(name):
        return name, client.get_logged_model(logged["id"]).tags
    if run := _RUN.match(name):
        experiment_id = client.get_run(run["id"]).info.experiment_id
        models = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run['id']}'")
        with_weights = [model for model in models if WEIGHTS_TAG in model.tags]
        if with_weights:
            newest = max(with_weights, key=lambda model: model.creation_timestamp)
            return f"models:/{newest.model_id}", newest.tags
        raise RegistryError(
            f"the run {run['id']} logged no trained model: name a run of the experiment biomedica/train"
        )
    raise RegistryError(f"{name!r} names no model of MLflow: models are named {FORMS}")


def _describe(client: MlflowClient, model_id: str, run_id: str) -> None:
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model

    description = Model(run_id=run_id, model_id=model_id)
    add_to_model(description, loader_module=_LOADER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "MLmodel")
        description.save(str(path))
        client.log_model_artifact(model_id, str(path))
