"""SIGINT and SIGTERM end a run in order: exit status 128 + signal, MLflow's runs closed, the command that resumes.

Kedro tells hooks of errors only, and its command line makes exit status 1 of an interruption. So the signal is raised
as `SystemExit`, which no stage takes for a fault of its data, and what is left to do is done when Python ends.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from biomedica_kedro.hooks.console import ConsoleHooks
from biomedica_kedro.hooks.tracking import TrackingHooks

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptionHooks:
    """End an interrupted `kedro run` in order."""

    def __init__(self, console: ConsoleHooks, tracking: TrackingHooks) -> None:
        """Args: console: says how to resume; tracking: records the run."""
        self._console = console
        self._tracking = tracking
        self._before: dict[signal.Signals, Any] = {}
        self._at_exit: Callable[[], None] | None = None
        self._caught: signal.Signals | None = None

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Take over the signals of the command line's process; notebooks keep theirs."""
        if not _is_command() or threading.current_thread() is not threading.main_thread():
            return

        def record() -> None:
            if self._caught is not None:
                self._tracking.record(run_params, pipeline, catalog, status="KILLED", error=f"{self._caught.name}")

        self._at_exit = record
        atexit.register(record)
        self._before = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Give the signals back."""
        self._give_back()

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """Give the signals back."""
        self._give_back()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._caught = signal.Signals(number)
        for other in _SIGNALS:  # the next one ends Python at once
            signal.signal(other, signal.SIG_DFL)
        self._console.tell_how_to_resume(f"interrupted by {self._caught.name}")
        raise SystemExit(128 + number)

    def _give_back(self) -> None:
        if self._at_exit is not None and self._caught is None:
            atexit.unregister(self._at_exit)
            self._at_exit = None
        for number, handler in self._before.items():
            if self._caught is None:
                signal.signal(number, handler)
        self._before = {}


def _is_command() -> bool:
    return Path(sys.argv[0]).name in ("kedro", "__main__.py")
