"""Rows of scores: one row = model x task x protocol x prompt set x metric, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.benchmark.bootstrap import Interval
from biomedica_kedro.records import SCORES, Options


class Protocol(StrEnum):
    """How a score was obtained."""

    ZERO_SHOT = "zero_shot"
    RETRIEVAL = "retrieval"
    LINEAR_PROBE = "linear_probe"
    NEAREST_NEIGHBORS = "knn"
    FEW_SHOT = "few_shot"
    BLANK_IMAGE = "blank_image"
    MAJORITY = "majority_class"
    ROBUSTNESS = "robustness"


ROW_OPTIONS = "captions of each row"  # how a headline score was asked, in the words of published_scores.csv
TIE_TOLERANCE = 1e-6  # of cosine similarity: closer options cannot be told apart in float32

SCORE_ROWS = pa.schema(
    [
        *SCORES, ("protocol", pa.string()), ("prompt_set", pa.string()), ("domain", pa.string()),
        ("synthetic", pa.bool_()), ("detail", pa.string()),
    ]
)  # fmt: skip


DRAW = "accuracy_of_draw"  # metric of one draw of a repeated measurement; its `seed` is the draw's number


class ScoreOptions(Options):
    """How scores and their intervals are computed.

    Attributes:
        prompt_set: the set whose scores stand in the tables; the others show how much the wording matters.
        n_resamples: of the bootstrap, for metrics of counts.
        n_resamples_ranked: of the bootstrap, for metrics that need every row (AUROC, precision, calibration).
        seed: of the bootstrap.
    """

    prompt_set: str = "card"
    n_resamples: int = Field(default=2000, ge=100)
    n_resamples_ranked: int = Field(default=200, ge=50)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What all the scores of one model on one task share."""

    model_id: str
    task: str
    domain: str
    synthetic: bool
    dataset_digest: str
    seed: int

    def row(
        self, metric: str, interval: Interval, n: int, *, protocol: Protocol, prompt_set: str = "", detail: str = ""
    ) -> dict[str, object]:
        """One row of `SCORE_ROWS`; bounds that do not exist are null."""
        return {
            "model_id": self.model_id, "task": self.task, "metric": metric, "value": _known(interval.value),
            "ci_low": _known(interval.low), "ci_high": _known(interval.high), "n": n, "seed": self.seed,
            "dataset_digest": self.dataset_digest, "protocol": str(protocol), "prompt_set": prompt_set,
            "domain": self.domain, "synthetic": self.synthetic, "detail": detail,
        }  # fmt: skip


def exact(value: float) -> Interval:
    """A value that has no interval."""
    return Interval(value, float("nan"), float("nan"))


def _known(value: float) -> float | None:
    return None if value != value else value
