"""Bars of the nodes that run, at the bottom of a terminal: how much is done, how fast, how long it will take.

Where the output is no terminal there are none, and the log has a line now and then (stages/progress.py).
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from biomedica_kedro.stages import progress
from biomedica_kedro.stages.progress import Work

_OURS = "biomedica_kedro"


class Bars(logging.Handler):
    """Listens to the stages and draws; does nothing where nobody watches."""

    def __init__(self, console: Console) -> None:
        """Args: console: whose lines are printed above the bars."""
        super().__init__(logging.DEBUG)
        is_child = multiprocessing.parent_process() is not None  # of ParallelRunner: one process draws, or none
        self._is_watched = console.is_terminal and not console.is_jupyter and not is_child
        self._console = console
        self._drawn: Progress | None = None
        self._nodes: dict[str, TaskID] = {}
        self._redirected: list[logging.StreamHandler[Any]] = []

    def begin(self, node: str) -> None:
        """A node starts; until it says how much it has to do, its bar only shows that it works."""
        if not self._is_watched:
            return
        if self._drawn is None:
            self._drawn = self._draw()
        name = node.rpartition(".")[2]
        self._nodes[name] = self._drawn.add_task(name, total=None, unit="")

    def end(self, node: str) -> None:
        """A node has ended; with the last one the bars go."""
        task = self._nodes.pop(node.rpartition(".")[2], None)
        if self._drawn is not None and task is not None:
            self._drawn.remove_task(task)
            if not self._nodes:
                self.stop()

    def stop(self) -> None:
        """Take the bars off the terminal."""
        if self._drawn is None:
            return
        self._drawn.stop()
        self._drawn = None
        self._nodes = {}
        progress.advances.removeHandler(self)
        progress.advances.setLevel(logging.NOTSET)
        for handler in self._redirected:
            handler.setStream(sys.stderr)
        self._redirected = []

    def emit(self, record: logging.LogRecord) -> None:
        """Move the bar of the stage that tells how far it is."""
        work = getattr(record, "work", None)
        if isinstance(work, Work) and self._drawn is not None and work.stage in self._nodes:
            self._drawn.update(self._nodes[work.stage], completed=work.done, total=work.total, unit=work.unit)

    def _draw(self) -> Progress:
        drawn = Progress(
            TextColumn("{task.description:<30}"), BarColumn(), _Done(), _Rate(), TimeElapsedColumn(), _Left(),
            console=self._console, transient=True,
        )  # fmt: skip
        drawn.start()
        progress.advances.addHandler(self)
        progress.advances.setLevel(logging.DEBUG)
        progress.advances.propagate = False  # they are no lines of the log; Kedro's configuration resets it
        # What is logged goes above the bars: rich has put its own stream in the place of this one
        for handler in logging.getLogger(_OURS).handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__ and sys.stderr.isatty():
                handler.setStream(sys.stderr)
                self._redirected.append(handler)
        return drawn


class _Done(MofNCompleteColumn):
    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task)


class _Left(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} {task.fields['unit']}/s" if task.speed else "", style="dim")
