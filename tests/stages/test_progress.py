"""How far a stage is, as people read it and as a listener hears it."""

from __future__ import annotations

import logging

import pytest

from biomedica_kedro.stages import progress
from biomedica_kedro.stages.progress import Progress, Work, duration


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration_is_told_in_the_unit_that_fits(seconds, told):
    assert duration(seconds) == told


def test_listener_hears_of_every_advance_and_others_of_none(caplog):
    caplog.set_level(logging.DEBUG, logger=progress.__name__)
    counted = Progress("embed", 3, "batches")
    counted.advance()
    counted.advance()
    assert [record.work for record in caplog.records] == [
        Work("embed", 1, 3, "batches"), Work("embed", 2, 3, "batches"),
    ]  # fmt: skip
    caplog.clear()
    caplog.set_level(logging.INFO, logger=progress.__name__)
    counted.advance()
    assert caplog.records == []
