"""The vision encoder as a catalog entry: which one is a matter of configuration, not of code."""

from __future__ import annotations

from typing import Any

from kedro.io import DatasetError
from pydantic import ValidationError

from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.previews import SettingsPreview
from biomedica_kedro.labels.encoders import EncoderChoice, EncoderHandle
from biomedica_kedro.strict_yaml import problems_of


class VisionEncoderDataset(SettingsPreview, GivenDataset[EncoderHandle]):
    """Gives a cheap handle on the chosen encoder; weights are read by the workers that need them.

    Example:
        ```yaml
        vision_encoder:
          type: biomedica_kedro.datasets.vision_encoder.VisionEncoderDataset
          kind: timm
          model: vit_large_patch14_reg4_dinov2
        ```
    """

    given_by = "a vision encoder is chosen in its catalog entry"

    def __init__(self, *, metadata: dict[str, Any] | None = None, **choice: Any) -> None:
        """Args: choice: the attributes of `EncoderChoice`; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        try:
            self._handle = EncoderHandle(EncoderChoice.model_validate(choice))
        except ValidationError as error:
            problems = "; ".join(problems_of(error, EncoderChoice))
            raise DatasetError(f"catalog entry of a vision encoder is not valid: {problems}") from error

    def load(self) -> EncoderHandle:
        """The handle."""
        return self._handle

    def _exists(self) -> bool:
        weights = self._handle.choice.weights
        return weights is None or weights.is_file()

    def _describe(self) -> dict[str, Any]:
        return self._handle.choice.model_dump(mode="json", exclude_none=True)
