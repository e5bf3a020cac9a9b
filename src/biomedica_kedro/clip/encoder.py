"""An open_clip model that turns images and texts into vectors, float32 and L2-normalised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from biomedica_kedro.clip.sources import INTERPOLATIONS
from biomedica_kedro.images.decode import Pixels
from biomedica_kedro.labels.pieces import in_pieces

if TYPE_CHECKING:
    from biomedica_kedro.clip.images import Geometry

Vectors = npt.NDArray[np.float32]


class OpenClipEncoder:
    """A model with its preprocessing and tokenizer; images are prepared in several threads."""

    def __init__(self, model: Any, preprocess: Callable[[Any], Any], tokenizer: Callable[[Any], Any]) -> None:
        import torch

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.to(self._device).eval()
        self._model.visual.to(memory_format=torch.channels_last)
        self._preprocess = preprocess
        self._geometry = _geometry_of(model)
        self._tokenizer = tokenizer

    @property
    def reads_text(self) -> bool:
        """True: open_clip's models have two towers."""
        return True

    @property
    def logit_scale(self) -> float:
        """Factor between cosine and logit."""
        return float(self._model.logit_scale.exp().item())

    def prepare(self, image: Pixels) -> Any:
        """The square the model sees: uint8 (3, S, S), or float32 where open_clip's own transform makes it."""
        import torch

        if self._geometry is None:
            return self._preprocess(Image.fromarray(image))
        from biomedica_kedro.clip.images import to_square

        _keep_to_one_core()
        return to_square(torch.from_numpy(image).permute(2, 0, 1), self._geometry)

    def encode_images(self, prepared: Sequence[Any]) -> Vectors:
        """N x E, float32, L2-normalised."""
        import torch

        pixels = torch.stack(list(prepared)).to(self._device)
        if self._geometry is not None:
            from biomedica_kedro.clip.images import normalize

            pixels = normalize(pixels, self._geometry)
        return self._vectors(self._model.encode_image, pixels)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """N x E, float32, L2-normalised."""
        return self._vectors(self._model.encode_text, self._tokenizer(list(texts)))

    def _vectors(self, encode: Callable[..., Any], inputs: Any) -> Vectors:
        vectors = in_pieces(lambda piece: encode(piece, normalize=True), inputs.to(self._device))
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def _keep_to_one_core() -> None:
    """Threads that prepare images are the parallelism: torch's own beside them would wait for each other.

    OpenMP keeps the number per thread, so that the model's thread is not changed.
    """
    import torch

    if threading.current_thread() is not threading.main_thread() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _geometry_of(model: Any) -> Geometry | None:
    """What our faster preprocessing needs; None for a model whose preprocessing is another one."""
    from biomedica_kedro.clip.images import Geometry

    stated = getattr(model.visual, "preprocess_cfg", None) or {}
    size = stated.get("size", 0)
    is_square = isinstance(size, int) or len(set(size)) == 1
    is_ours = stated.get("mode") == "RGB" and stated.get("interpolation") in INTERPOLATIONS
    return Geometry.of(stated) if is_square and is_ours else None
