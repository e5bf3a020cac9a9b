"""A trained model behind a table: images and texts in, vectors out; what `mlflow.pyfunc.load_model` gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from biomedica_kedro.clip.checkpoints import TextTokenizer, load_model
from biomedica_kedro.clip.images import Geometry, decode, normalize, to_square
from biomedica_kedro.clip.sources import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from biomedica_kedro.clip.checkpoints import ClipModel

_AT_ONCE = 64


class ServedModel:
    """Embeds the columns "image" (an image file's bytes) and "text" of a table.

    Args:
        model: in evaluation mode.
        geometry: how it wants images.
        tokenizer: of its texts.
    """

    def __init__(self, model: ClipModel, geometry: Geometry, tokenizer: TextTokenizer) -> None:
        self._model, self._geometry, self._tokenizer = model, geometry, tokenizer

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """L2-normalized vectors, lists of E numbers: "image_vector" and "text_vector", as far as the columns are there.

        Args:
            rows: with "image", "text" or both.
            params: none are known; MLflow passes it.
        Raises:
            ModelError: when the table has neither column.
            DataError: when an image cannot be read.
        """
        import pandas as pd

        encode: dict[str, Callable[[list[Any]], list[list[float]]]]
        encode = {"image": self._encode_images, "text": self._encode_texts}
        found = {name: encode[name](list(rows[name])) for name in encode if name in rows}
        if not found:
            raise ModelError(f"the table has the columns {list(rows.columns)}: expected image (bytes), text or both")
        return pd.DataFrame({f"{name}_vector": vectors for name, vectors in found.items()}, index=rows.index)

    def _encode_images(self, files: list[bytes]) -> list[list[float]]:
        squares = [to_square(decode(content), self._geometry) for content in files]
        return [
            vector
            for first in range(0, len(squares), _AT_ONCE)
            for vector in self._listed(
                self._model.encode_image, normalize(torch.stack(squares[first : first + _AT_ONCE]), self._geometry)
            )
        ]

    def _encode_texts(self, texts: list[str]) -> list[list[float]]:
        return self._listed(self._model.encode_text, self._tokenizer(texts))

    @staticmethod
    def _listed(encode: Any, inputs: torch.Tensor) -> list[list[float]]:
        with torch.inference_mode():
            vectors: list[list[float]] = encode(inputs, normalize=True).float().tolist()
        return vectors


def _load_pyfunc(path: str) -> ServedModel:
    """What MLflow calls, with the folder of the model's files."""
    from biomedica_kedro.clip.checkpoints import find_checkpoint

    model, _, tokenizer = load_model(path)
    _, config = find_checkpoint(path)
    return ServedModel(model, Geometry.of(config["preprocess_cfg"]), tokenizer)
