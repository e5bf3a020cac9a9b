"""The registered model's alias `champion`: moved only when a paired test over the benchmark says so."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from kedro.io import AbstractDataset

from biomedica_kedro.benchmark.nomination import Nomination
from biomedica_kedro.stages.files import write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

ALIAS = "champion"
_WEIGHTS_TAG = "weights.sha256"


class ChampionDataset(AbstractDataset[Nomination, dict[str, Any]]):
    """Saving a nomination moves the alias if the nominee may replace the champion; a JSON file keeps what came of it.

    The nominee's version is found by the sha256 of its weights, which training records on the versions it registers.
    """

    def __init__(
        self, *, filepath: str, registered_model: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """What is decided on.

        Args:
            filepath: the JSON file.
            registered_model: name in MLflow's registry; None: nothing is moved.
            metadata: for kedro-viz.
        """
        self._path = Path(filepath)
        self._registered_model = registered_model
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """The last nomination and what came of it."""
        return dict(orjson.loads(self._path.read_bytes()))

    def save(self, data: Nomination) -> None:
        """Move the alias when the paired test allows it."""
        write_json(self._path, {**asdict(data), "outcome": self._decide(data)})

    def _decide(self, nomination: Nomination) -> str:
        if self._registered_model is None:
            return "not registered"
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            return _promote(MlflowClient(), self._registered_model, nomination)
        except MlflowException as error:
            logger.warning("the champion of %s was not decided: %s", self._registered_model, error)
            return "tracking server did not answer"

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "registered_model": self._registered_model}


def _promote(client: MlflowClient, name: str, nomination: Nomination) -> str:
    versions = {version.tags.get(_WEIGHTS_TAG): version for version in client.search_model_versions(f"name = '{name}'")}
    nominee = versions.get(nomination.weights)
    if nominee is None:
        return "no registered version has these weights"
    champion = _present_champion(client, name)
    if champion == nomination.weights:
        return "is champion"
    if not nomination.may_replace(champion):
        return "champion stays: not beaten in the paired test"
    client.set_registered_model_alias(name, ALIAS, nominee.version)
    client.set_model_version_tag(name, nominee.version, "champion.beat", ", ".join(sorted(nomination.beaten)))
    return "is the new champion"


def _present_champion(client: MlflowClient, name: str) -> str | None:
    aliases = client.get_registered_model(name).aliases
    if ALIAS not in aliases:
        return None
    weights = client.get_model_version(name, aliases[ALIAS]).tags.get(_WEIGHTS_TAG, "")
    return str(weights)
