"""What every drawn panel has: a class with its labels, attributes, pixels and words that are true of the pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

import numpy as np
from PIL import Image

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FigureClass:
    """One of the kinds of image the corpus draws.

    Args:
        id: short name, e.g. "cxr".
        noun: how captions name it, e.g. "chest radiograph"; also what zero-shot prompts say.
        primary: global label of the taxonomy.
        secondary: local label of the taxonomy.
        aspect: width over height.
    """

    id: str
    noun: str
    primary: str
    secondary: str
    aspect: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel(ABC):
    """One image with its attributes. Subclasses are the classes of the corpus."""

    kind: ClassVar[FigureClass]

    @classmethod
    @abstractmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw attributes; never looks at the size of the picture."""

    @abstractmethod
    def paint(self, rng: np.random.Generator, width: int, height: int) -> Image.Image:
        """RGB picture of these attributes."""

    @abstractmethod
    def headline(self, rng: np.random.Generator) -> str:
        """Noun phrase of the class and its visible attributes, without a full stop."""

    @abstractmethod
    def remarks(self, rng: np.random.Generator) -> list[str]:
        """Further sentences of the caption."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What the picture is about, for titles and body text: "hepatic steatosis"."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of `options`."""
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def capitalize(text: str) -> str:
    """`text` with its first letter in upper case and the rest untouched."""
    return text[:1].upper() + text[1:]
