"""How many bytes a download will be, from the sizes of a sample of the selected articles: look before you leap.

An upper bound: every image of an article counts, while the fetch takes only those that a figure cites.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from biomedica_kedro.http import run_bounded
from biomedica_kedro.pmc.source import IMAGE_SUFFIXES, Source
from biomedica_kedro.records import DataError, Options

_Z_95 = 1.96


class EstimateOptions(Options):
    """How closely to look.

    Attributes:
        sample: articles whose files are measured.
        seed: chooses another sample.
    """

    sample: int = Field(default=200, ge=1)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadEstimate:
    """Bytes to download with their 95 % interval; `measured` articles could be looked at."""

    articles: int
    measured: int
    files_per_article: float
    bytes_per_article: float
    bytes_total: float
    bytes_low: float
    bytes_high: float


def estimate_bytes(source: Source, articles: Sequence[tuple[str, str]], options: EstimateOptions) -> DownloadEstimate:
    """Estimate the bytes of a download.

    Args:
        source: where the articles would come from.
        articles: article id and location of each.
        options: see `EstimateOptions`.
    """

    async def measure(article: tuple[str, str]) -> list[int] | None:
        try:
            sizes = await source.open_article(*article).sizes()
        except DataError:
            return None
        return [size for name, size in sizes.items() if name.lower().endswith((".json", ".xml", *IMAGE_SUFFIXES))]

    ranked = sorted(articles, key=lambda article: hashlib.sha256(f"{options.seed}:{article[0]}".encode()).digest())
    found = run_bounded(measure, ranked[: options.sample], limit=source.articles_in_flight)
    measured = [sizes for sizes in found if sizes is not None]
    totals = [float(sum(sizes)) for sizes in measured] or [0.0]
    mean, n = statistics.fmean(totals), len(articles)
    spread = statistics.stdev(totals) / math.sqrt(len(totals)) if len(totals) > 1 else 0.0
    spread *= math.sqrt(max(0.0, 1 - len(totals) / n)) if n else 0.0
    return DownloadEstimate(
        articles=n,
        measured=len(measured),
        files_per_article=statistics.fmean([len(sizes) for sizes in measured] or [0]),
        bytes_per_article=mean,
        bytes_total=n * mean,
        bytes_low=max(0.0, n * (mean - _Z_95 * spread)),
        bytes_high=n * (mean + _Z_95 * spread),
    )
