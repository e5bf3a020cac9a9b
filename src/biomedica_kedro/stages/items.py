"""Map a function over items so that one bad item becomes a reject and never stops the batch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from biomedica_kedro.records import DataError, Reject, RejectReason
from biomedica_kedro.stages.place import Place

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_items(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    stage: str,
    source: Callable[[Item], str],
    quarantine: frozenset[str] = frozenset(),
    flight_record: Place | None = None,
) -> tuple[list[Result], list[Reject]]:
    """Apply `function` to every item; in = results + rejects, always.

    Args:
        function: treats one item; raises `DataError` when the item cannot be used.
        items: what to treat.
        stage: name of the stage, for the reject.
        source: names an item ("PMC10009416.1", "PMC10009416.1/F2/x.jpg"), for the reject.
        quarantine: items that killed a worker; they are rejected as `worker_killed`.
        flight_record: file that names the item being treated, so that one that kills its worker is known afterwards.
    Returns:
        Results in the order of the items, and one reject per item that failed.
    """
    results: list[Result] = []
    rejects: list[Reject] = []
    with _flight_recorder(flight_record) as record:
        for item in items:
            name = source(item)
            if name in quarantine:
                rejects.append(Reject(name, stage, RejectReason.WORKER_KILLED, "the worker process died on this item"))
                continue
            record(name)
            try:
                results.append(function(item))
            except DataError as error:
                rejects.append(Reject(name, stage, error.reason, error.detail))
            except Exception as error:
                if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                    # The machine failed, not the item: a full disk must stop the stage, not empty the data set.
                    raise RuntimeError(f"{stage} failed on {name}: {type(error).__name__}: {error}") from error
                logger.debug("%s: unexpected error on %s", stage, name, exc_info=True)
                rejects.append(Reject(name, stage, RejectReason.UNEXPECTED_ERROR, f"{type(error).__name__}: {error}"))
    return results, rejects


@contextmanager
def _flight_recorder(path: Place | None) -> Iterator[Callable[[str], None]]:
    """Gives a function that writes an item's name where it survives the process; at the end no item is in flight."""
    if path is None:
        yield lambda name: None
        return
    if not isinstance(path, Path):
        yield lambda name: path.fs.pipe_file(path.path, name.encode())
        path.fs.pipe_file(path.path, b"")
        return
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)

    def record(name: str) -> None:
        content = name.encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))

    try:
        yield record
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)
