"""Encoders for the benchmark from the project's checkpoints and open_clip's models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from biomedica_kedro.batches import BatchFolder
from biomedica_kedro.batches.digests import digest_of
from biomedica_kedro.batches.files import sha256_of
from biomedica_kedro.benchmark.encode import Encoder, Vectors
from biomedica_kedro.benchmark.models import ModelChoice, ModelSource
from biomedica_kedro.benchmark.nomination import UNTRAINED


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
        if self.choice.source is ModelSource.OPEN_CLIP or self.choice.weights:
            files = [Path(name) for name in (self.choice.architecture, self.choice.weights) if Path(name).is_file()]
            return digest_of([*parts, *map(sha256_of, files)])
        return digest_of([*parts, self.checkpoint.digest()])

    def weights(self) -> str:
        """sha256 of a checkpoint's weights file, "untrained", or the digest of any other choice."""
        if self.choice.source is ModelSource.UNTRAINED:
            return UNTRAINED
        if self.choice.source is not ModelSource.CHECKPOINT:
            return self.digest()
        folder = Path(self.choice.weights or self.checkpoint.path)
        return sha256_of(folder / "all.safetensors" if folder.is_dir() else folder)


class OpenClipEncoder:
    """An open_clip model as the benchmark sees it."""

    def __init__(self, model: Any, preprocess: Callable[[Any], Any], tokenizer: Callable[[Any], Any]) -> None:
        import torch

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.to(self._device).eval()
        self._preprocess = preprocess
        self._tokenizer = tokenizer

    @property
    def reads_text(self) -> bool:
        """True: open_clip's models have two towers."""
        return True

    @property
    def logit_scale(self) -> float:
        """Factor between cosine and logit."""
        return float(self._model.logit_scale.exp().item())

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """N x E, float32, L2-normalised."""
        import torch

        pixels = torch.stack([self._preprocess(image) for image in images])
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

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """N x E, float32, L2-normalised."""
        from biomedica_kedro.labels.encoders import DescriptorEncoder

        vectors = DescriptorEncoder().encode(images).astype(np.float32)
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
        import open_clip

        model, _, preprocess = open_clip.create_model_and_transforms(choice.architecture, pretrained=choice.weights)
        return OpenClipEncoder(model, preprocess, open_clip.get_tokenizer(choice.architecture))
    from biomedica_kedro.clip.checkpoints import load_model

    model, preprocess, tokenizer = load_model(choice.weights or handle.checkpoint)
    if choice.source is ModelSource.UNTRAINED:
        model = _untrained(choice.weights or str(handle.checkpoint.path), choice.seed)
    return OpenClipEncoder(model, preprocess, tokenizer)


def _untrained(checkpoint: str, seed: int) -> Any:
    """The checkpoint's architecture with random weights: what the benchmark gives a model that learned nothing."""
    import orjson
    import torch

    from biomedica_kedro.clip.checkpoints import create

    path = Path(checkpoint)
    config = (path / "all.json") if path.is_dir() else path.with_suffix(".json")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(orjson.loads(config.read_bytes()))
