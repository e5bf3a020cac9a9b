"""One run at a time works on a data root: a second one is told who runs, and stops or waits."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol

from biomedica_kedro.datasets.tracking import command_line
from biomedica_kedro.hooks.places import data_root_of
from biomedica_kedro.stages.files import remove_leftovers, write_json
from biomedica_kedro.stages.node import BATCHES
from biomedica_kedro.stages.previous_batch import KEPT
from biomedica_kedro.stages.run import BatchOptions

logger = logging.getLogger(__name__)


class BusyError(Exception):
    """Another run works on the same data."""


class OneRunHooks:
    """Hold a lock while a run works; array jobs hold one each, by their index.

    Attributes:
        follows_a_kill: whether the run before, on the same data, was killed.
    """

    def __init__(self) -> None:
        self.follows_a_kill = False
        self._folder = Path("data")
        self._lock: FileLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Learn where the data lie; those in an object store are guarded against runs of this project folder."""
        root = data_root_of(context.config_loader)
        self._folder = Path(context.project_path) / ("data" if "://" in root else root)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Take the lock.

        Raises:
            BusyError: when another run has it and `batches.wait_for_other_run` is not set.
        """
        options = BatchOptions.model_validate(catalog.load(BATCHES))
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f".run-{options.array_index}" if options.array_count > 1 else ".run"
        lock, record = FileLock(self._folder / f"{name}.lock"), self._folder / f"{name}.json"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not options.wait_for_other_run:
                raise BusyError(
                    f"{_told(record)}. Nothing was started: wait for its end, or let this run wait with "
                    "--params=batches.wait_for_other_run=true"
                ) from None
            logger.warning("waiting: %s", _told(record))
            lock.acquire()
        self._lock = lock
        self.follows_a_kill = record.exists()
        if options.array_count == 1:  # array jobs may work on other machines, beside each other
            self._remove_leftovers()
        command = command_line([Path(sys.argv[0]).name, *sys.argv[1:]])
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(record, {"process": os.getpid(), "host": socket.gethostname(), "since": since, "command": command})

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Give the lock back."""
        self._release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Give the lock back."""
        self._release()

    def _remove_leftovers(self) -> None:
        """Remove what killed runs left beside the files of layers and of `.kept`; batches tidy their own folders."""
        for folder in (self._folder, *self._folder.iterdir(), *self._folder.glob(f"*/*/{KEPT}")):
            if folder.is_dir():
                remove_leftovers(folder)

    def _release(self) -> None:
        if self._lock is not None:
            Path(self._lock.lock_file).with_suffix(".json").unlink(missing_ok=True)
            self._lock.release()
            self._lock = None


def _told(record: Path) -> str:
    """Who runs: "process 4711 on host has worked on this data since 12:00 (kedro run)"."""
    try:
        run = orjson.loads(record.read_bytes())
        return f"process {run['process']} on {run['host']} works on this data since {run['since']} ({run['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return f"another run works on the data of {record.parent}"
