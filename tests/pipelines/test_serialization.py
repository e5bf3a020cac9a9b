"""The serialization pipeline through Kedro and the project's own catalog, on a corpus of a few articles."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image

from biomedica_kedro.datasets.sources import EmbeddedCorpus
from biomedica_kedro.hooks.places import PlaceHooks
from biomedica_kedro.pipelines.serialization import create_pipeline
from biomedica_kedro.pmc.source import INVENTORY
from biomedica_kedro.shards.card import CardOptions
from biomedica_kedro.shards.contact_sheet import SheetOptions
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.hub import HubOptions
from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.stages.run import BatchOptions
from tests.shards.conftest import Corpus, figures

PROJECT = Path(__file__).resolve().parents[2]
MODELS = {
    "prepare_samples": SampleOptions,
    "assign_shards": ShardOptions,
    "write_shards": ExportOptions,
    "write_dataset_card": CardOptions,
    "draw_contact_sheet": SheetOptions,
    "push_to_hub": HubOptions,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    for file in ("catalog/root.yml", "catalog/serialization.yml", "parameters/serialization.yml"):
        (root / "conf/base" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / "conf/base" / file, root / "conf/base" / file)
    (root / "conf/local").mkdir()
    (root / "conf/base/globals.yml").write_text(f"data_root: {root}/data\n")
    loader = OmegaConfigLoader(conf_source=root / "conf", base_env="base", default_run_env="local")
    catalog = DataCatalog.from_config(loader["catalog"])
    for name, folder in Corpus(figures(range(30)), retracted={3}).write(root / "upstream").items():
        catalog[name] = folder
    catalog["article_source"] = EmbeddedCorpus(str(root))
    catalog["article_inventory"] = INVENTORY.empty_table()
    parameters = loader["parameters"]["serialization"]
    assert parameters.keys() == MODELS.keys()
    for node, model in MODELS.items():
        catalog[f"params:serialization.{node}"] = model(**parameters[node])
    catalog["params:batches"] = BatchOptions(count=3)
    hooks = _create_hook_manager()
    hooks.register(PlaceHooks())
    SequentialRunner().run(create_pipeline(), catalog, hooks)
    return catalog, hooks


@pytest.fixture(scope="module")
def catalog(made):
    return made[0]


def test_every_data_set_of_the_catalog_is_made_or_read(catalog):
    entries = yaml.safe_load((PROJECT / "conf/base/catalog/serialization.yml").read_text())
    entries = {name for name in entries if not name.startswith("_")}
    assert set(entries) == create_pipeline().all_outputs() | {"written_samples"}
    assert all(catalog.exists(name) for name in entries)


def test_audit_adds_up(catalog):
    summary = catalog.load("audit_summary")
    assert summary["image_caption_pairs"] == summary["published"] + sum(summary["excluded"].values())
    assert summary["excluded"] == {"retracted": 3}


def test_card_has_a_header_for_the_hub_and_the_counts(catalog):
    _, header, body = catalog.load("dataset_card").split("---\n", 2)
    header = yaml.safe_load(header)
    assert [config["config_name"] for config in header["configs"]] == ["commercial", "noncommercial", "metadata"]
    assert "synthetic" in header["tags"]
    assert "87 images with captions" in body
    assert "| Microscopy | " in body
    assert "| retracted | 3 |" in body


def test_croissant_metadata_is_valid_and_names_every_shard_with_its_checksum(catalog, tmp_path):
    import mlcroissant

    path = tmp_path / "croissant.json"
    path.write_text(json.dumps(catalog.load("croissant_metadata")))
    described = mlcroissant.Dataset(path).metadata
    assert not described.ctx.issues.errors
    index = catalog.load("shard_index").table().to_pylist()
    checksums = {file.id: file.sha256 for file in described.distribution if file.id.endswith(".tar")}
    assert checksums == {row["shard"]: row["sha256"] for row in index}


def test_contact_sheet_is_drawn(catalog):
    path = catalog["sample_contact_sheet"]._describe()["filepath"]
    with Image.open(str(path)) as sheet:
        assert sheet.width > 1000


def test_nothing_is_pushed_unless_a_repository_is_named(catalog):
    assert catalog.load("hub_receipt") == {"repository": None, "commit": None, "url": None}


def test_second_run_computes_no_batch_and_draws_no_report(made, monkeypatch):
    def fail(*_):
        raise AssertionError("a batch was computed again")

    catalog, hooks = made
    monkeypatch.setattr("biomedica_kedro.stages.run.run_tasks", fail)
    monkeypatch.setattr("biomedica_kedro.datasets.report.write_json", fail)
    SequentialRunner().run(create_pipeline(), catalog, hooks)
