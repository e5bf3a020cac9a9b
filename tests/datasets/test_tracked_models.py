from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.datasets.tracked_models import find_tracked
from biomedica_kedro.datasets.tracking import TRAINING_EXPERIMENT
from biomedica_kedro.stages.files import sha256_of


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient()
    client.create_experiment(TRAINING_EXPERIMENT, artifact_location=(tmp_path / "artifacts").as_uri())
    yield client
    mlflow.set_tracking_uri(before)


def _train(client: MlflowClient, folder: Path, content: bytes, *, keep: bool) -> str:
    """What a training leaves in MLflow: a logged model, a registered version with an alias; the run's id."""
    weights, config = folder / "all.safetensors", folder / "all.json"
    weights.write_bytes(content)
    config.write_text('{"model_cfg": {}}')
    experiment = client.get_experiment_by_name(TRAINING_EXPERIMENT).experiment_id
    run = client.create_run(experiment).info.run_id
    tags = {"weights.sha256": sha256_of(weights), "weights.path": str(weights)}
    logged = client.create_logged_model(experiment, name="clip", source_run_id=run, tags=tags)
    for path in (config, weights) if keep else (config,):
        client.log_model_artifact(logged.model_id, str(path))
    if not client.search_registered_models():
        client.create_registered_model("biomedica-clip")
    version = client.create_model_version(
        "biomedica-clip", f"models:/{logged.model_id}", run_id=run, model_id=logged.model_id
    )
    client.set_registered_model_alias("biomedica-clip", "champion", version.version)
    return run


def test_first_training_is_found_by_any_name_after_a_second_wrote_to_its_place(
    client: MlflowClient, tmp_path: Path
) -> None:
    first = _train(client, tmp_path, b"first", keep=True)
    _train(client, tmp_path, b"second", keep=True)
    found = {
        name: (find_tracked(name) / "all.safetensors").read_bytes()
        for name in (f"runs:/{first}", "models:/biomedica-clip/1", "models:/biomedica-clip@champion")
    }
    assert list(found.values()) == [b"first", b"first", b"second"]


def test_weights_that_were_not_kept_count_while_they_are_the_same(client: MlflowClient, tmp_path: Path) -> None:
    _train(client, tmp_path, b"first", keep=False)
    assert find_tracked("models:/biomedica-clip@champion").read_bytes() == b"first"
    (tmp_path / "all.safetensors").write_bytes(b"second")
    with pytest.raises(ModelError, match="holds others now"):
        find_tracked("models:/biomedica-clip@champion")
    (tmp_path / "all.safetensors").unlink()
    with pytest.raises(ModelError, match="is not there any more"):
        find_tracked("models:/biomedica-clip@champion")


def test_name_that_mlflow_does_not_know_is_told_with_those_it_knows(client: MlflowClient, tmp_path: Path) -> None:
    _train(client, tmp_path, b"first", keep=True)
    with pytest.raises(ModelError, match=r"knows no model 'models:/biomedica-clip@best'.*models:/biomedica-clip@champ"):
        find_tracked("models:/biomedica-clip@best")
    empty = client.create_run(client.get_experiment_by_name(TRAINING_EXPERIMENT).experiment_id).info.run_id
    with pytest.raises(ModelError, match="made no model"):
        find_tracked(f"runs:/{empty}")
