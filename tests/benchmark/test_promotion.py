from __future__ import annotations

import pandas as pd
import pytest

from biomedica_kedro.benchmark.comparison import SUITE
from biomedica_kedro.benchmark.promotion import PromotionCandidate, promotion_candidate

WEIGHTS = {"new": "sha-new", "old": "sha-old", "control": "untrained"}


def _comparison(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["model_a", "model_b", "samples", "verdict"])
    return frame.assign(task=SUITE)


def test_wins_count_from_either_side_of_a_pair() -> None:
    comparison = _comparison(("control", "new", "real", "loss"), ("new", "old", "real", "win"))
    assert promotion_candidate(comparison, WEIGHTS, model_id="new").beaten == {"control": "untrained", "old": "sha-old"}


def test_win_on_synthetic_samples_does_not_outweigh_a_loss_on_real_ones() -> None:
    comparison = _comparison(("new", "old", "real", "loss"), ("new", "old", "synthetic", "win"))
    assert promotion_candidate(comparison, WEIGHTS, model_id="new").beaten == {}


@pytest.mark.parametrize(
    ("beaten", "champion", "allowed"),
    [
        ({"control": "untrained"}, None, True),
        ({}, None, False),
        ({"control": "untrained"}, "sha-old", False),
        ({"old": "sha-old"}, "sha-old", True),
        ({"old": "sha-old"}, "sha-new", False),
    ],
    ids=["first champion", "beats nobody", "beats the control only", "beats the champion", "is the champion"],
)
def test_only_who_beats_the_champion_replaces_it(beaten: dict, champion: str | None, allowed: bool) -> None:
    assert PromotionCandidate("new", "sha-new", beaten).may_replace(champion) is allowed
