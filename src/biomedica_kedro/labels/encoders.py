"""One protocol for vision encoders, and the three kinds there are: descriptors, timm models, open_clip's vision tower.

An encoder is chosen in the catalog (`vision_encoder`); what travels to the workers is the choice, and each worker makes
the encoder once. Source: BIOMEDICA section 3 (DINOv2 ViT-L/14 with registers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from biomedica_kedro.records import HOW, Options
from biomedica_kedro.stages.files import sha256_of
from biomedica_kedro.stages.identity import combined, what

if TYPE_CHECKING:
    import torch

Halves = npt.NDArray[np.float16]

# Raised by a person when an encoder gives other vectors for the same images and weights
_VERSION = 1


class VisionEncoder(Protocol):
    """Turns images into vectors."""

    def encode(self, images: Sequence[Image.Image]) -> Halves:
        """Vectors of RGB images of any size: float16 [N, D], not normalized."""
        ...


class EncoderKind(StrEnum):
    """Where the vectors come from."""

    DESCRIPTORS = "descriptors"
    TIMM = "timm"
    OPEN_CLIP = "open_clip"


class Preprocessing(StrEnum):
    """How an image becomes the encoder's input: aspect kept and normalized, or the original code's plain squash."""

    PADDED = "padded"
    REFERENCE = "reference"


class EncoderChoice(Options):
    """Which encoder; cheap to make, to copy and to send to a worker.

    Attributes:
        kind: descriptors need no weights.
        model: timm's or open_clip's name of the model.
        weights: a local file; None takes the hub's weights of that model (timm) or `pretrained` (open_clip).
        pretrained: open_clip's tag of the weights.
        image_size: side of the model's input in pixels.
        preprocessing: PADDED keeps the aspect and normalises; REFERENCE squashes and does not normalise.
        device: "auto" takes the GPU when there is one.
    """

    kind: EncoderKind = EncoderKind.DESCRIPTORS
    model: str | None = None
    weights: Path | None = None
    pretrained: str | None = None
    image_size: int = 224
    preprocessing: Preprocessing = Preprocessing.PADDED
    device: Annotated[str, HOW] = "auto"


@dataclass(frozen=True, slots=True)
class EncoderHandle:
    """A choice with a digest; the encoder is made where it is needed."""

    choice: EncoderChoice

    def digest(self) -> str:
        """Digest of what decides the vectors: the choice without the device, and the content of the weights file."""
        weights = _checked_weights(self.choice)
        chosen = {name: value for name, value in what(self.choice).items() if name != "weights"}
        content = None if weights is None else _file_digest(weights, weights.stat().st_mtime_ns)
        return combined({"choice": chosen, "version": _VERSION, "weights": content})

    def build(self) -> VisionEncoder:
        """The encoder itself, made once per process."""
        return _built(self.choice.model_dump_json())


class EncoderError(ValueError):
    """The choice of an encoder cannot be carried out."""


@cache
def _file_digest(path: Path, _modified: int) -> str:
    return sha256_of(path)


@cache
def _built(choice_json: str) -> VisionEncoder:
    choice = EncoderChoice.model_validate_json(choice_json)
    if choice.kind is EncoderKind.DESCRIPTORS:
        return DescriptorEncoder()
    if choice.model is None:
        raise EncoderError(f"vision encoder of kind {choice.kind.value!r} needs a `model` in its catalog entry")
    _checked_weights(choice)
    return TorchEncoder(choice)


def _checked_weights(choice: EncoderChoice) -> Path | None:
    if choice.weights is not None and not choice.weights.is_file():
        raise EncoderError(
            f"the vision encoder's weights file {choice.weights} does not exist: put it there, or name another in the "
            "catalog entry vision_encoder"
        )
    return choice.weights


class DescriptorEncoder:
    """The encoder without weights, see `descriptors`."""

    def encode(self, images: Sequence[Image.Image]) -> Halves:
        """float16 [N, D] descriptors."""
        from biomedica_kedro.labels.descriptors import describe

        return np.stack([describe(image) for image in images]).astype(np.float16)


class TorchEncoder:
    """A timm model's pooled features, or open_clip's image features."""

    def __init__(self, choice: EncoderChoice) -> None:
        import torch

        available = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = available if choice.device == "auto" else choice.device
        self._half = self._device.startswith("cuda")
        load = _load_timm if choice.kind is EncoderKind.TIMM else _load_open_clip
        model, self._forward, mean, std = load(choice)
        self._model = model.eval().to(self._device, torch.float16 if self._half else torch.float32)
        self._choice = choice
        normalized = choice.preprocessing is Preprocessing.PADDED
        self._mean = np.asarray(mean if normalized else (0, 0, 0), dtype=np.float32)
        self._std = np.asarray(std if normalized else (1, 1, 1), dtype=np.float32)

    def encode(self, images: Sequence[Image.Image]) -> Halves:
        """float16 [N, D] features of the model."""
        import torch

        from biomedica_kedro.labels.pieces import in_pieces

        pixels_N3HW = np.stack([self._pixels(image) for image in images])
        batch = torch.from_numpy(pixels_N3HW).to(self._device, torch.float16 if self._half else torch.float32)
        features: Halves = in_pieces(partial(self._forward, self._model), batch).to("cpu", torch.float16).numpy()
        return features

    def _pixels(self, image: Image.Image) -> npt.NDArray[np.float32]:
        square = prepare(image, self._choice.image_size, self._choice.preprocessing)
        rgb = np.asarray(square, dtype=np.float32) / 255.0
        return ((rgb - self._mean) / self._std).transpose(2, 0, 1)


def prepare(image: Image.Image, size: int, preprocessing: Preprocessing) -> Image.Image:
    """Square input of a model.

    Args:
        image: RGB.
        size: side in pixels.
        preprocessing: PADDED keeps the aspect and pads with white, the ground of most figures; REFERENCE squashes.
    """
    if preprocessing is Preprocessing.REFERENCE:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (size, size), "white")
    resized = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    square.paste(resized, ((size - width) // 2, (size - height) // 2))
    return square


_Loaded = tuple[Any, "Callable[[Any, torch.Tensor], torch.Tensor]", Sequence[float], Sequence[float]]


def _load_timm(choice: EncoderChoice) -> _Loaded:
    import timm
    from timm.data.config import resolve_data_config

    overlay = {} if choice.weights is None else {"file": str(choice.weights)}
    options: dict[str, Any] = {"pretrained_cfg_overlay": overlay} if overlay else {}
    model = timm.create_model(str(choice.model), pretrained=True, num_classes=0, img_size=choice.image_size, **options)
    config = resolve_data_config({}, model=model)
    return model, lambda m, x: m(x), config["mean"], config["std"]


def _load_open_clip(choice: EncoderChoice) -> _Loaded:
    import open_clip

    pretrained = str(choice.weights) if choice.weights is not None else choice.pretrained
    tag = open_clip.get_pretrained_cfg(choice.model, choice.pretrained) if choice.pretrained else {}
    model, _, _ = open_clip.create_model_and_transforms(
        choice.model,
        pretrained=pretrained,
        force_image_size=choice.image_size,
        force_quick_gelu=bool(tag.get("quick_gelu")),  # open_clip only warns that it builds another activation
    )
    return model, lambda m, x: m.encode_image(x), model.visual.image_mean, model.visual.image_std
