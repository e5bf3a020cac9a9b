from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from biomedica_kedro.benchmark.models import (
    PAPER_MODELS,
    ModelChoice,
    Models,
    ModelSource,
    batch_name,
    hub_file,
    model_and_images,
    parse_model,
)

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "identity", "source", "architecture", "weights"),
    [
        ("checkpoint", "checkpoint", "checkpoint", "", ""),
        ("descriptors", "descriptors", "descriptors", "", ""),
        ("hf-hub:owner/a_model.v2", "a-model-v2", "open_clip", "hf-hub:owner/a_model.v2", ""),
        ("ViT-B-16/laion2b_s34b_b88k", "ViT-B-16-laion2b-s34b-b88k", "open_clip", "ViT-B-16", "laion2b_s34b_b88k"),
        ("ViT-L-14=old/epoch_4.pt", "ViT-L-14-epoch-4", "open_clip", "ViT-L-14", "old/epoch_4.pt"),
        ("models:/biomedica-clip@champion", "biomedica-clip-champion", "mlflow", "", "models:/biomedica-clip@champion"),
        ("models:/biomedica-clip/3", "biomedica-clip-3", "mlflow", "", "models:/biomedica-clip/3"),
        (RUN, f"run-{RUN}", "mlflow", "", f"runs:/{RUN}"),
        (f"runs:/{RUN}/model", f"run-{RUN}-model", "mlflow", "", f"runs:/{RUN}/model"),
        ("biomedclip", "BiomedCLIP", "open_clip", PAPER_MODELS["BiomedCLIP"], ""),
        ("OpenCLIP", "OpenCLIP", "open_clip", "ViT-L-14", "commonpool_xl_clip_s13b_b90k"),
        ("BMC-CLIP", "BMC-CLIP", "open_clip", "ViT-L-14", "hf://BIOMEDICA/BMC_CLIP_CF/BMC_CLIP_CF.pt"),
    ],
)  # fmt: skip
def test_model_is_known_by_any_of_its_names(
    name: str, identity: str, source: str, architecture: str, weights: str
) -> None:
    assert parse_model(name) == ModelChoice(id=identity, source=source, architecture=architecture, weights=weights)


def test_checkpoint_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "last month"
    folder.mkdir()
    (folder / "all.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert parse_model("last month") == ModelChoice(id="last-month", source="checkpoint", weights="last month")
    assert parse_model(str(folder / "all.safetensors")).id == "last-month-all"
    with pytest.raises(ValueError, match="no such folder or file"):
        parse_model("./absent")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BioMedClipp", "did you mean 'BiomedCLIP'"), ("epoch_4.pt", "needs its architecture: ViT-L-14=epoch_4.pt"),
        ("", "models are named checkpoint"), ("/absent/all.safetensors", "no such folder or file"),
        ("=x.pt", "needs `architecture`"),
    ],
    ids=["misspelled", "file alone", "empty", "absent file", "no architecture"],
)  # fmt: skip
def test_name_that_is_none_says_which_there_are(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_model(name)


def test_parameter_takes_names_entries_and_one_string() -> None:
    entries = [{"id": "mine", "source": "checkpoint"}, "BiomedCLIP", {"id": "theirs", "model": "ViT-B-32/openai"}]
    models = Models.model_validate(entries)
    assert [(model.id, model.source) for model in models.choices] == [
        ("mine", "checkpoint"), ("BiomedCLIP", "open_clip"), ("theirs", "open_clip"),
    ]  # fmt: skip
    for text in ("BiomedCLIP,checkpoint", "BiomedCLIP; checkpoint", "BiomedCLIP checkpoint"):
        assert [model.id for model in Models.model_validate(text).choices] == ["BiomedCLIP", "checkpoint"]
    assert models.leading.id == "mine"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "name a model"), ({"id": "x"}, "a list of models, not dict"), (["checkpoint"] * 2, "ids must differ"),
        ([{"id": "x", "source": "open_clip"}], "needs `architecture` and `weights`"),
        ([{"id": "x", "sorce": "checkpoint"}], "did you mean 'source'"),
        ([{"id": "a b", "source": "checkpoint"}], "id"),
        ([{"id": "x", "source": "mlflow"}], "needs its URI"),
    ],
    ids=["none", "mapping", "twice", "half", "misspelled key", "bad id", "no URI"],
)  # fmt: skip
def test_wrong_parameter_names_the_entry(entries: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Models.model_validate(entries)


def test_names_of_mlflow_become_checkpoints_when_they_are_looked_up() -> None:
    checkpoint, named = Models.model_validate(["checkpoint", "models:/biomedica-clip@champion"]).choices
    asked = []
    resolved = [each.resolved(lambda uri: asked.append(uri) or Path("/cache/champion")) for each in (checkpoint, named)]
    assert asked == ["models:/biomedica-clip@champion"]
    champion = ModelChoice(id="biomedica-clip-champion", source=ModelSource.CHECKPOINT, weights="/cache/champion")
    assert resolved == [checkpoint, champion]


def test_file_on_the_hub_is_a_repository_and_a_path() -> None:
    assert hub_file(parse_model("BMC-CLIP").weights) == ("BIOMEDICA/BMC_CLIP_CF", "BMC_CLIP_CF.pt")
    assert hub_file("laion2b") is None


def test_papers_environment_measures_the_papers_models_and_none_is_needed() -> None:
    conf = Path(__file__).resolve().parents[2] / "conf/paper/parameters/evaluation.yml"
    models = Models.model_validate(yaml.safe_load(conf.read_text())["evaluation"]["models"])
    assert {choice.id for choice in models.choices} == set(PAPER_MODELS)
    assert all(choice.optional for choice in models.choices)


def test_batches_keep_model_and_images_apart() -> None:
    for name in PAPER_MODELS:
        assert model_and_images(batch_name(parse_model(name).id, "ubench_stain")) == (
            parse_model(name).id,
            "ubench_stain",
        )
