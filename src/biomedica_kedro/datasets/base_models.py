"""The model training starts from, as a catalog entry."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.datasets.previews import SettingsPreview


class BaseClipModelDataset(SettingsPreview, AbstractDataset[None, BaseModel]):
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
                repository of open_clip's shape (`local-dir:path`, `hf-hub:organization/name`).
            weights: a tag open_clip knows ("commonpool_xl_clip_s13b_b90k"), or a file's path; null for random weights,
                or for those of the folder or repository.
            quick_gelu: whether the weights of a file were trained with QuickGELU, where nothing beside it says so.
            metadata: kept for kedro-viz (layer).
        """
        self._base = BaseModel(architecture, weights, quick_gelu)
        self.metadata = metadata

    def load(self) -> BaseModel:
        """The handle."""
        return self._base

    def save(self, data: None) -> NoReturn:
        """Refuse: the base model is an input."""
        raise DatasetError("base_clip_model is an input and cannot be written")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return asdict(self._base)
