"""The registered model's alias `champion`: moved only when a paired test over the benchmark says so."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from kedro.io import AbstractDataset

from biomedica_kedro.benchmark.promotion import PromotionCandidate
from biomedica_kedro.datasets import tracking
from biomedica_kedro.stages.files import write_json
from biomedica_kedro.stages.place import place, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
_WEIGHTS_TAG = "weights.sha256"
_UNDECIDED = "tracking server did not answer"


class ChampionDataset(AbstractDataset[PromotionCandidate, dict[str, Any]]):
    """Saving a candidate moves the alias if the candidate may replace the champion; a JSON file keeps what came of it.

    The candidate's version is found by the sha256 of its weights, which training records on the versions it registers.
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
        self._path = place(filepath)
        self._registered_model = registered_model
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """The last candidate and what came of it."""
        return dict(orjson.loads(read_file(self._path)))

    def save(self, data: PromotionCandidate) -> None:
        """Move the alias when the paired test allows it."""
        write_json(self._path, {**asdict(data), "outcome": self._decide(data)})

    def _decide(self, candidate: PromotionCandidate) -> str:
        if self._registered_model is None:
            return "not registered"
        outcome = _UNDECIDED
        with tracking.warned(f"the champion of {self._registered_model}"):
            outcome = _promote(tracking.connect(), self._registered_model, candidate)
        return outcome

    def _exists(self) -> bool:
        """Whether it was decided: what MLflow did not take is tried again by the next run."""
        try:
            return bool(self.load()["outcome"] != _UNDECIDED)
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "registered_model": self._registered_model}


def _promote(client: MlflowClient, name: str, candidate: PromotionCandidate) -> str:
    versions = {version.tags.get(_WEIGHTS_TAG): version for version in client.search_model_versions(f"name = '{name}'")}
    version = versions.get(candidate.weights)
    if version is None:
        return "no registered version has these weights"
    champion = _present_champion(client, name)
    if champion == candidate.weights:
        return "is champion"
    if not candidate.may_replace(champion):
        return "champion stays: not beaten in the paired test"
    client.set_registered_model_alias(name, ALIAS, version.version)
    client.set_model_version_tag(name, version.version, "champion.beat", ", ".join(sorted(candidate.beaten)))
    return "is the new champion"


def _present_champion(client: MlflowClient, name: str) -> str | None:
    aliases = client.get_registered_model(name).aliases
    if ALIAS not in aliases:
        return None
    weights = client.get_model_version(name, aliases[ALIAS]).tags.get(_WEIGHTS_TAG, "")
    return str(weights)
