"""Bars move with what stages tell, and there are none where nobody watches."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from biomedica_kedro.hooks.bars import Bars
from biomedica_kedro.stages import progress
from biomedica_kedro.stages.progress import Progress


def console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=160, highlight=False)


@pytest.fixture
def bars():
    made = Bars(console(is_terminal=True))
    yield made
    made.stop()


def told(bars: Bars) -> str:
    bars._drawn.refresh()
    return bars._console.file.getvalue()


def test_bar_shows_how_much_is_done_of_what_and_how_fast(bars):
    bars.begin("annotation.embed_images")
    counted = Progress("embed_images", 40, "batches")
    for _ in range(7):
        counted.advance()
    shown = told(bars)
    assert "embed_images" in shown and "7/40" in shown and "batches/s" in shown


def test_stage_that_runs_beside_another_has_a_bar_of_its_own(bars):
    bars.begin("extraction.parse_articles")
    bars.begin("modeling.train_clip")
    progress.tell(progress.Work("train_clip", 3, 300, "steps"))
    bars.end("extraction.parse_articles")
    progress.tell(progress.Work("train_clip", 4, 300, "steps"))
    progress.tell(progress.Work("parse_articles", 1, 8, "batches"))  # too late: it has ended
    assert "4/300" in told(bars)
    assert list(bars._nodes) == ["train_clip"]


def test_with_the_last_node_the_bars_go_and_nobody_listens(bars):
    bars.begin("a.b")
    bars.end("a.b")
    assert bars not in progress.advances.handlers
    assert not progress.advances.isEnabledFor(logging.DEBUG)
    bars.stop()  # again, as when a run fails


def test_advances_are_no_lines_of_the_log(bars):
    log = logging.StreamHandler(io.StringIO())
    logging.getLogger("biomedica_kedro").addHandler(log)
    bars.begin("a.b")
    Progress("b", 3, "batches").advance()
    logging.getLogger("biomedica_kedro").removeHandler(log)
    assert log.stream.getvalue() == ""


def test_without_a_terminal_nothing_is_drawn():
    quiet = Bars(console(is_terminal=False))
    quiet.begin("a.b")
    Progress("b", 3, "batches").advance()
    quiet.end("a.b")
    assert quiet._console.file.getvalue() == ""
    assert quiet not in progress.advances.handlers
