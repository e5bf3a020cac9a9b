"""The model training starts from, as a catalog entry."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from kedro.io import DatasetError

from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.clip.sources import FOLDER
from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.previews import SettingsPreview
from biomedica_kedro.datasets.registry import RegistryError, checkpoint_folder, is_tracked


class BaseClipModelDataset(SettingsPreview, GivenDataset[BaseModel]):
    """Names an architecture and the weights to start from; nothing is loaded or fetched before the training needs it.

    Example:
        >>> BaseClipModelDataset(architecture="biomedica-tiny").load()
        BaseModel(architecture='biomedica-tiny', weights=None, quick_gelu=None)
    """

    def __init__(
        self,
        *,
        architecture: str,
        weights: str | None = None,
        quick_gelu: bool | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Name the base.

        Args:
            architecture: an open_clip model name, `biomedica-tiny`, a configuration file, or a folder or hub
                repository of open_clip's shape (`local-dir:path`, `hf-hub:organization/name`), or a trained model by
                what MLflow calls it (`models:/biomedica-clip@champion`, a run's id).
            weights: a tag open_clip knows ("commonpool_xl_clip_s13b_b90k"), or a file's path; null for random weights,
                or for those of the folder or repository.
            quick_gelu: whether the weights of a file were trained with QuickGELU, where nothing beside it says so.
            metadata: kept for kedro-viz (layer).
        """
        super().__init__(metadata=metadata)
        self._base = BaseModel(architecture, weights, quick_gelu)

    def load(self) -> BaseModel:
        """The handle; what MLflow knows is looked up now, and is the folder of its files.

        Raises:
            DatasetError: when MLflow knows no such model.
        """
        if not is_tracked(self._base.architecture):
            return self._base
        try:
            folder = checkpoint_folder(self._base.architecture)
        except RegistryError as error:
            raise DatasetError(f"base_clip_model: {error}") from error
        return replace(self._base, architecture=f"{FOLDER}{folder}")

    def _describe(self) -> dict[str, Any]:
        return asdict(self._base)
