"""Encoders for the benchmark from the project's checkpoints and open_clip's models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image

from biomedica_kedro.benchmark.embeddings import Vectors
from biomedica_kedro.benchmark.encode import Encoder
from biomedica_kedro.benchmark.models import ModelChoice, Models, ModelSource, hub_file
from biomedica_kedro.benchmark.promotion import UNTRAINED
from biomedica_kedro.benchmark.samples import Pixels
from biomedica_kedro.clip.checkpoints import (
    BaseModel,
    base_weights,
    config_of,
    create,
    find_checkpoint,
    folder_of,
    load_base,
    load_model,
    tokenizer_of,
)
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.encoder import OpenClipEncoder
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.datasets.tracked_models import find_tracked
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import sha256_of
from biomedica_kedro.stages.identity import digest_of, what


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """A model that can be built in any process, and whose digest changes with its weights."""

    choice: ModelChoice
    checkpoint: BatchFolder

    def digest(self) -> str:
        """Digest of the choice and of the files it stands for."""
        parts = [what(self.choice)]
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

    def fetch(self) -> None:
        """See that it can be built: weights, configuration and tokenizer are here afterwards.

        Raises:
            ModelError: saying what cannot be had.
        """
        if self.choice.source is ModelSource.DESCRIPTORS:
            return
        if self.choice.source is not ModelSource.OPEN_CLIP:
            find_checkpoint(self.choice.weights or self.checkpoint)
            return
        try:
            _fetch(_base(self.choice))
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.choice.id} cannot be had: {' '.join(str(error).split())[:300]}") from error

    def facts(self) -> dict[str, str]:
        """What tells the model apart at a glance: where it comes from, its weights, and how they were trained."""
        choice = self.choice
        facts = {"model": choice.id, "model.source": str(choice.source), "model.weights": choice.weights or "own"}
        if choice.source in (ModelSource.OPEN_CLIP, ModelSource.DESCRIPTORS):
            return facts | {"model.architecture": choice.architecture or "hand-made features"}
        weights, config = find_checkpoint(choice.weights or self.checkpoint)
        made = config.get("provenance", {})
        facts["model.architecture"] = str(made.get("architecture", "stated in the configuration"))
        if choice.source is ModelSource.UNTRAINED:
            return facts | {"model.weights": f"random, seed {choice.seed}"}
        options = made.get("options", {})
        recipe = {
            "base": made.get("base_weights") or "random", "steps": options.get("steps"),
            "batch_size": options.get("batch_size"),
            "learning_rate": options.get("optimizer", {}).get("learning_rate"),
            "n_training_samples": made.get("n_training_samples"),
        }  # fmt: skip
        facts["model.weights_sha256"] = sha256_of(weights)[:12]
        return facts | {f"recipe.{name}": str(value) for name, value in recipe.items() if value is not None}


def find_models(models: Models, checkpoint: BatchFolder) -> tuple[dict[str, ModelHandle], dict[str, str]]:
    """The models that can be measured, by id; and of the optional ones that cannot be had, the reason.

    Args:
        models: as they are named in the parameters; MLflow's are looked up.
        checkpoint: `clip_checkpoint`.
    Raises:
        ModelError: when a model that is not optional cannot be found.
    """
    found: dict[str, ModelHandle] = {}
    left_out: dict[str, str] = {}
    for choice in models.choices:
        try:
            handle = ModelHandle(choice.resolved(find_tracked), checkpoint)
            if choice.optional:
                handle.fetch()
            found[choice.id] = handle
        except ModelError as error:
            if not choice.optional:
                raise
            left_out[choice.id] = str(error)
    return found, left_out


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
    return BaseModel(choice.architecture, _local(choice.weights) or None, choice.quick_gelu)


@cache
def _fetch(base: BaseModel) -> None:
    config = config_of(base, ModelOptions())
    base_weights(base)
    create(config, device="meta")
    tokenizer_of(config, folder_of(base))


@cache
def _local(weights: str) -> str:
    """A file of the hub as a path, fetched unless it is in the hub's cache; other weights as they are named."""
    named = hub_file(weights)
    if named is None:
        return weights
    from huggingface_hub import hf_hub_download

    try:
        return str(hf_hub_download(*named))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{weights} can be neither fetched nor found in the hub's cache: {' '.join(str(error).split())[:300]}"
        ) from error


def _untrained(checkpoint: str | BatchFolder, seed: int) -> Any:
    """The checkpoint's architecture with random weights: what the benchmark gives a model that learned nothing."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(find_checkpoint(checkpoint)[1])
