"""Encoders from the project's checkpoints and open_clip's models, for the benchmark and for the archive."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from biomedica_kedro.benchmark.encode import Encoder, Vectors
from biomedica_kedro.benchmark.models import ModelChoice, ModelSource
from biomedica_kedro.benchmark.promotion import UNTRAINED
from biomedica_kedro.benchmark.samples import Pixels
from biomedica_kedro.clip.checkpoints import BaseModel, create, find_checkpoint, load_base, load_model
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import sha256_of
from biomedica_kedro.stages.identity import digest_of

if TYPE_CHECKING:
    from biomedica_kedro.clip.images import Geometry


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """A model that can be built in any process, and whose digest changes with its weights."""

    choice: ModelChoice
    checkpoint: BatchFolder

    def digest(self) -> str:
        """Digest of the choice and of the files it stands for."""
        parts = [self.choice.model_dump(mode="json")]
        if self.choice.source is ModelSource.DESCRIPTORS:
            return digest_of(parts)
        if self.choice.source is ModelSource.OPEN_CLIP:
            return digest_of([*parts, _base(self.choice).digest()])
        if self.choice.weights:
            weights, config = find_checkpoint(self.choice.weights)
            return digest_of([*parts, sha256_of(weights), config["model_cfg"], config["preprocess_cfg"]])
        return digest_of([*parts, self.checkpoint.digest()])

    def weights(self) -> str:
        """sha256 of a checkpoint's weights file, "untrained", or the digest of any other choice."""
        if self.choice.source is ModelSource.UNTRAINED:
            return UNTRAINED
        if self.choice.source is not ModelSource.CHECKPOINT:
            return self.digest()
        return sha256_of(find_checkpoint(self.choice.weights or self.checkpoint)[0])


class OpenClipEncoder:
    """An open_clip model as the benchmark sees it."""

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
        import torch

        with torch.inference_mode():
            vectors = encode(inputs.to(self._device), normalize=True)
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


class DescriptorImages:
    """The annotation's encoder without weights, for probes."""

    reads_text = False
    logit_scale = 1.0

    def prepare(self, image: Pixels) -> Image.Image:
        """Pillow's image."""
        return Image.fromarray(image)

    def encode_images(self, prepared: Sequence[Image.Image]) -> Vectors:
        """N x E, float32, L2-normalised."""
        from biomedica_kedro.labels.encoders import DescriptorEncoder

        vectors = DescriptorEncoder().encode(prepared).astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """There is no text tower."""
        raise NotImplementedError("descriptors read images only")


def encoder_of(handle: ModelHandle) -> Encoder:
    """Build the encoder; the last one is kept, since tasks of one model follow each other."""
    return _cached(handle, handle.digest())


@lru_cache(maxsize=1)
def _cached(handle: ModelHandle, digest: str) -> Encoder:
    choice = handle.choice
    if choice.source is ModelSource.DESCRIPTORS:
        return DescriptorImages()
    if choice.source is ModelSource.OPEN_CLIP:
        return OpenClipEncoder(*load_base(_base(choice)))
    model, preprocess, tokenizer = load_model(choice.weights or handle.checkpoint)
    if choice.source is ModelSource.UNTRAINED:
        model = _untrained(choice.weights or handle.checkpoint, choice.seed)
    return OpenClipEncoder(model, preprocess, tokenizer)


@contextmanager
def machine_threads() -> Iterator[None]:
    """As many of torch's threads as the machine gives, whatever ran before: their number decides the order of sums."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _base(choice: ModelChoice) -> BaseModel:
    return BaseModel(choice.architecture, choice.weights or None, choice.quick_gelu)


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
    is_ours = (stated.get("mode"), stated.get("interpolation")) == ("RGB", "bicubic")
    return Geometry.of(stated) if is_square and is_ours else None


def _untrained(checkpoint: str | BatchFolder, seed: int) -> Any:
    """The checkpoint's architecture with random weights: what the benchmark gives a model that learned nothing."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(find_checkpoint(checkpoint)[1])
