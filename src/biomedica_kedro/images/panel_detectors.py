"""A learned panel detector in the place of the classical method: any object that gives boxes and scores.

`detect_panels.detector` names a factory by its Python path, "package.module:factory"; it is called with the path of
`detector_weights` where there is one. No detector comes with this project.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from PIL import Image

from biomedica_kedro.batches.code import code_digest
from biomedica_kedro.batches.digests import digest_of
from biomedica_kedro.batches.files import sha256_of
from biomedica_kedro.images.panels import (
    Box,
    PanelOptions,
    PanelReading,
    SubCaption,
    in_reading_order,
    read_panels,
    split_caption,
)


class PanelDetector(Protocol):
    """Finds the panels of an image."""

    def detect(self, image: Image.Image) -> Sequence[tuple[Box, float]]:
        """Boxes in pixels of an RGB image of any size, each with a score between 0 and 1."""
        ...


class DetectorError(ValueError):
    """The choice of a detector cannot be carried out."""


@dataclass(frozen=True, slots=True)
class DetectorHandle:
    """A choice with a digest; the detector is made where it is needed. Without a factory it is the classical method."""

    factory: str | None
    weights: Path | None = None

    def digest(self) -> str:
        """Digest of the choice: the factory's name and code, and the content of the weights."""
        code = None if self.factory is None else code_digest(self.factory)
        return digest_of([self.factory, code, None if self.weights is None else sha256_of(_existing(self.weights))])

    def build(self) -> PanelDetector | None:
        """The detector, made once a process."""
        return None if self.factory is None else _built(self.factory, self.weights and _existing(self.weights))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DetectorError(f"detect_panels.detector_weights names the file {path}, which does not exist: put it there")
    return path


def read_image(image: Image.Image, caption: str, options: PanelOptions, detector: PanelDetector | None) -> PanelReading:
    """Panels as the detector finds them, or by the classical method without one; see `panels.read_panels`.

    Several panels are as likely as the second of the detector's boxes.
    """
    if detector is None:
        return read_panels(image, caption, options)
    found = sorted(detector.detect(image), key=lambda pair: -pair[1])
    second = found[1][1] if len(found) > 1 else 0.0
    boxes = in_reading_order([box for box, score in found if score >= options.threshold])
    parts = split_caption(caption)
    if len(boxes) < 2:
        whole = Box(0, 0, image.height, image.width)
        return PanelReading(is_multiple=False, score=max(0.5, 1.0 - second), boxes=(whole,), captions=(None,))
    captions: tuple[SubCaption | None, ...] = (None,) * len(boxes)
    if len(parts) == len(boxes):
        captions = tuple(parts)
    return PanelReading(is_multiple=True, score=max(0.5, second), boxes=tuple(boxes), captions=captions)


@cache
def _built(factory: str, weights: Path | None) -> PanelDetector:
    module, _, name = factory.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DetectorError(
            f"detect_panels.detector is {factory!r}, expected package.module:factory: {error}"
        ) from error
    return cast(PanelDetector, make() if weights is None else make(weights))
