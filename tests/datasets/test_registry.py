"""A trained model is found again by what MLflow calls it, by training, evaluation and MLflow's own loader alike."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from PIL import Image

from biomedica_kedro.clip.checkpoints import config_of, create, find_checkpoint, load_base, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.open_clip_folder import write_open_clip_folder
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.datasets.base_models import BaseClipModelDataset
from biomedica_kedro.datasets.registry import RegistryError, checkpoint_folder
from biomedica_kedro.datasets.tracking import TRAINING_EXPERIMENT
from biomedica_kedro.datasets.training_log import TrainingLogDataset
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import small_vit
from tests.datasets.test_training_log import RUN


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One tracking store for all tests: making it takes longer than they do."""
    folder = tmp_path_factory.mktemp("mlflow")
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client = mlflow.MlflowClient()
    client.create_experiment(TRAINING_EXPERIMENT, artifact_location=str(folder / "artifacts"))
    yield client
    mlflow.set_tracking_uri(previous)


@pytest.fixture
def client(server):
    """The store without the models of other tests."""
    for model in server.search_registered_models():
        server.delete_registered_model(model.name)
    return server


def trained(folder: Path) -> Path:
    """A training's own folder, as `train_clip` leaves it."""
    folder.mkdir()
    config = config_of(small_vit(folder.parent), ModelOptions())
    save_model(folder / "all.safetensors", create(config).state_dict())
    write_json(folder / "all.json", config)
    write_open_clip_folder(folder, folder / "all.safetensors", config, card="A card.")
    return folder


def logged(client, folder: Path, **options: bool) -> str:
    """Id of the run of a training that left its files in a folder."""
    log = TrainingLogDataset(registered_model="clip", **options).load()
    log.start(replace(RUN, key=folder.parent.name))
    log.model(folder / "all.safetensors", folder / "all.json", {"loss": 1.0}, 2)
    log.finish()
    client.set_registered_model_alias("clip", "champion", "1")
    return client.get_model_version("clip", "1").run_id


@pytest.mark.parametrize("form", ["models:/clip@champion", "models:/clip/1", "runs:/{run}/clip", "{run}"])
def test_model_is_the_folder_of_its_training(client, tmp_path, form):
    folder = trained(tmp_path / "tiny-k1")
    assert checkpoint_folder(form.format(run=logged(client, folder))) == folder


def test_second_version_leaves_the_first_where_it_was(client, tmp_path):
    first, second = trained(tmp_path / "tiny-k1"), trained(tmp_path / "tiny-k2")
    logged(client, first)
    log = TrainingLogDataset(registered_model="clip").load()
    log.start(RUN)
    log.model(second / "all.safetensors", second / "all.json", {}, 2)
    log.finish()
    assert [checkpoint_folder(f"models:/clip/{version}") for version in (1, 2)] == [first, second]
    assert checkpoint_folder("models:/clip@candidate") == second


def test_uploaded_weights_stand_in_for_files_that_are_gone(client, tmp_path):
    folder = trained(tmp_path / "tiny-k1")
    content = (folder / "all.safetensors").read_bytes()
    logged(client, folder)
    save_model(folder / "all.safetensors", {})  # other weights lie there now
    found = checkpoint_folder("models:/clip@champion")
    assert found != folder
    assert find_checkpoint(found)[0].read_bytes() == content


def test_weights_that_are_nowhere_are_told(client, tmp_path):
    folder = trained(tmp_path / "tiny-k1")
    logged(client, folder, upload_weights=False)
    assert checkpoint_folder("models:/clip/1") == folder
    (folder / "all.safetensors").unlink()
    with pytest.raises(RegistryError, match=r"weights of models:/clip/1 are gone: .*upload_weights"):
        checkpoint_folder("models:/clip/1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models:/clip@nobody", "MLflow does not give the model models:/clip@nobody"),
        ("0" * 32, "MLflow does not give the model 0000"),
        ("models:/", "names no model of MLflow: models are named models:/NAME@ALIAS"),
    ],
)
def test_unknown_model_is_named(client, name, message):
    with pytest.raises(RegistryError, match=message):
        checkpoint_folder(name)


def test_training_starts_from_a_registered_model(client, tmp_path):
    folder = trained(tmp_path / "tiny-k1")
    logged(client, folder)
    base = BaseClipModelDataset(architecture="models:/clip@champion").load()
    weights = load_base(base)[0].state_dict()
    wanted = load_base(BaseClipModelDataset(architecture=f"local-dir:{folder}").load())[0].state_dict()
    assert base.digest() and all((weights[name] == wanted[name]).all() for name in wanted)
    with pytest.raises(DatasetError, match="base_clip_model: MLflow does not give the model models:/clip@nobody"):
        BaseClipModelDataset(architecture="models:/clip@nobody").load()


def test_mlflow_loads_the_model_and_embeds_a_table(client, tmp_path):
    folder = trained(tmp_path / "tiny-k1")
    logged(client, folder)
    model = mlflow.pyfunc.load_model("models:/clip@champion")
    file = io.BytesIO()
    picture = Image.new("RGB", (40, 32), "red")
    picture.save(file, "PNG")
    rows = pd.DataFrame({"image": [file.getvalue()] * 2, "text": ["a red field", "a blue one"]}, index=[5, 6])
    vectors = model.predict(rows)
    own, preprocess, tokenizer = load_base(BaseClipModelDataset(architecture=f"local-dir:{folder}").load())
    image = own.encode_image(preprocess(picture)[None], normalize=True)[0].detach()
    text = own.encode_text(tokenizer(["a blue one"]), normalize=True)[0].detach()
    assert list(vectors.index) == [5, 6]
    assert np.allclose(vectors["image_vector"][6], image, atol=1e-3)
    assert np.allclose(vectors["text_vector"][6], text, atol=1e-5)
    assert list(model.predict(rows[["text"]]).columns) == ["text_vector"]
    with pytest.raises(ModelError, match=r"columns \['caption'\]: expected image \(bytes\), text or both"):
        model.predict(pd.DataFrame({"caption": ["x"]}))
