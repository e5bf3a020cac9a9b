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


class Listener(logging.Handler):
    def __init__(self):
        super().__init__()
        self.heard = []

    def emit(self, record):
        self.heard.append(record.work)


@pytest.fixture
def listener():
    handler = Listener()
    progress.advances.addHandler(handler)
    yield handler
    progress.advances.removeHandler(handler)
    progress.advances.setLevel(logging.NOTSET)


def test_listener_hears_of_every_advance_once_it_listens(listener):
    counted = Progress("embed", 3, "batches")
    counted.advance()
    progress.advances.setLevel(logging.DEBUG)
    counted.advance()
    counted.advance()
    assert listener.heard == [Work("embed", 2, 3, "batches"), Work("embed", 3, 3, "batches")]
