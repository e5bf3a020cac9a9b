"""Options of the embedded corpus, and the random streams that everything is drawn from.

Attributes, captions, prose and pixels have streams of their own: another image size changes no caption.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from pydantic import Field

from biomedica_kedro.records import Options


class CorpusOptions(Options):
    """How large the embedded corpus is and which seed it is drawn from."""

    seed: int = Field(0, ge=0)
    articles: int = Field(300, ge=4)
    held_out_articles: int = Field(100, ge=0)
    figures_per_article: int = Field(3, ge=1, le=9)
    held_out_figures: int = Field(6, ge=1, le=9)
    single_panel_share: float = Field(0.6, ge=0, le=1)
    validation_share: float = Field(0.08, ge=0, lt=1)
    image_size: int = Field(224, ge=64, le=1024)
    planted_faults: bool = True
    workers: int = Field(2, ge=1)


class Stream(IntEnum):
    """Purpose of a random stream."""

    IDENTIFIERS = 0
    CLASSES = 1
    ATTRIBUTES = 2
    CAPTIONS = 3
    PROSE = 4
    PIXELS = 5
    VOTES = 6


def random_stream(seed: int, stream: Stream, *position: int) -> np.random.Generator:
    """Generator that depends on the seed, the purpose and a position (article, figure, panel) alone."""
    return np.random.default_rng([seed, int(stream), *position])
