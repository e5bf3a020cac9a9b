from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from biomedica_kedro.benchmark.promotion import PromotionCandidate
from biomedica_kedro.datasets.champion import ALIAS, ChampionDataset


@pytest.fixture
def client(tmp_path: Path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient()
    client.create_registered_model("clip")
    for weights in ("one", "two"):
        client.create_model_version("clip", source=f"file:///{weights}", tags={"weights.sha256": weights})
    yield client
    mlflow.set_tracking_uri(before)


def _champion(client: MlflowClient) -> str | None:
    return client.get_registered_model("clip").aliases.get(ALIAS)


def test_alias_moves_only_by_a_won_test(client: MlflowClient, tmp_path: Path) -> None:
    dataset = ChampionDataset(filepath=str(tmp_path / "champion.json"), registered_model="clip")
    dataset.save(PromotionCandidate("a", "one", {}))
    assert (_champion(client), dataset.load()["outcome"]) == (None, "champion stays: not beaten in the paired test")
    dataset.save(PromotionCandidate("a", "one", {"control": "untrained"}))
    first = _champion(client)
    dataset.save(PromotionCandidate("b", "two", {"control": "untrained"}))
    assert _champion(client) == first
    dataset.save(PromotionCandidate("b", "two", {"a": "one"}))
    assert _champion(client) != first
    assert dataset.load()["outcome"] == "is the new champion"


def test_unregistered_weights_and_no_registry_change_nothing(client: MlflowClient, tmp_path: Path) -> None:
    for name, outcome in (("clip", "no registered version has these weights"), (None, "not registered")):
        dataset = ChampionDataset(filepath=str(tmp_path / "champion.json"), registered_model=name)
        dataset.save(PromotionCandidate("x", "elsewhere", {"control": "untrained"}))
        assert dataset.load()["outcome"] == outcome
    assert _champion(client) is None


def test_missing_registered_model_is_a_warning(client: MlflowClient, tmp_path: Path) -> None:
    dataset = ChampionDataset(filepath=str(tmp_path / "champion.json"), registered_model="absent")
    dataset.save(PromotionCandidate("x", "one", {"control": "untrained"}))
    assert dataset.exists()
