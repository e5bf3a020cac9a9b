"""A detector of one's own in the place of the cuts of `panel_cuts`: any object that gives boxes and scores.

`detect_panels.detector` names a factory by its Python path, "package.module:factory"; it is called with the path of
`detector_weights` where there is one.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from PIL import Image

from biomedica_kedro.images import panel_cuts, panel_glance, panel_letters
from biomedica_kedro.images.boxes import Box, in_reading_order
from biomedica_kedro.images.panels import (
    PanelOptions,
    PanelReading,
    captions_of,
    read_panels,
)
from biomedica_kedro.stages.files import sha256_of
from biomedica_kedro.stages.identity import digest_of, what

OWN_WEIGHTS = (panel_cuts.WEIGHTS, panel_glance.WEIGHTS, panel_letters.WEIGHTS)


class PanelDetector(Protocol):
    """Finds the panels of an image."""

    def detect(self, image: Image.Image) -> Sequence[tuple[Box, float]]:
        """Boxes in pixels of an RGB image of any size, each with a score between 0 and 1."""
        ...


class DetectorError(ValueError):
    """The choice of a detector cannot be carried out."""


@dataclass(frozen=True, slots=True)
class DetectorHandle:
    """A choice with a digest; the detector is made where it is needed. Without a factory panels are cut apart."""

    factory: str | None
    weights: Path | None = None

    def digest(self) -> str:
        """Digest of the choice: the factory's name, the source file of its module, the content of the weights."""
        if self.factory is None:
            return digest_of([sha256_of(path) for path in OWN_WEIGHTS])
        source = sha256_of(_source_of(self.factory))
        return digest_of([self.factory, source, None if self.weights is None else sha256_of(_existing(self.weights))])

    def build(self) -> PanelDetector | None:
        """The detector, made once a process."""
        return None if self.factory is None else _built(self.factory, self.weights and _existing(self.weights))


class DetectOptions(PanelOptions):
    """`PanelOptions` that count by the content of the files they name."""

    @property
    def handle(self) -> DetectorHandle:
        """The detector of these options."""
        return DetectorHandle(self.detector, self.detector_weights)

    def digest(self) -> str:
        """Digest of all options, and of the detector's code and weights."""
        stated = {name: value for name, value in what(self).items() if name != "detector_weights"}
        return digest_of({"options": stated, "detector": self.handle.digest()})


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DetectorError(f"detect_panels.detector_weights names the file {path}, which does not exist: put it there")
    return path


def read_image(image: Image.Image, caption: str, options: PanelOptions, detector: PanelDetector | None) -> PanelReading:
    """Panels as the detector finds them, or by cuts without one; see `panels.read_panels`.

    Several panels are as likely as the second of the detector's boxes.
    """
    if detector is None:
        return read_panels(image, caption, options)
    found = sorted(detector.detect(image), key=lambda pair: -pair[1])
    second = found[1][1] if len(found) > 1 else 0.0
    boxes = in_reading_order([box for box, score in found if score >= options.threshold])
    if len(boxes) < 2:
        whole = Box(0, 0, image.height, image.width)
        return PanelReading(is_multiple=False, score=max(0.5, 1.0 - second), boxes=(whole,), captions=(None,))
    captions, shared = captions_of(boxes, caption, options)
    return PanelReading(is_multiple=True, score=max(0.5, second), boxes=tuple(boxes), captions=captions, shared=shared)


def _source_of(factory: str) -> Path:
    """File that the module of a factory is written in."""
    name = factory.partition(":")[0]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise _error(factory, error) from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise _error(factory, f"no module {name!r} with a source file")
    return Path(spec.origin)


def _error(factory: str, cause: object) -> DetectorError:
    return DetectorError(f"detect_panels.detector is {factory!r}, expected package.module:factory: {cause}")


@cache
def _built(factory: str, weights: Path | None) -> PanelDetector:
    module, _, name = factory.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _error(factory, error) from error
    return cast(PanelDetector, make() if weights is None else make(weights))
