"""Map a function over items so that one bad item becomes a reject and never stops the batch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from biomedica_kedro.records import DataError, Reject, RejectReason

if TYPE_CHECKING:
    from biomedica_kedro.batches.plan import Batch

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_items(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    stage: str,
    source: Callable[[Item], str],
    batch: Batch | None = None,
) -> tuple[list[Result], list[Reject]]:
    """Apply `function` to every item; in = results + rejects, always.

    Args:
        function: treats one item; raises `DataError` when the item cannot be used.
        items: what to treat.
        stage: name of the stage, for the reject.
        source: names an item ("PMC10009416.1", "PMC10009416.1/F2/x.jpg"), for the reject.
        batch: the batch being treated, so that an item that kills its worker is found and put in quarantine.
    Returns:
        Results in the order of the items, and one reject per item that failed.
    """
    results: list[Result] = []
    rejects: list[Reject] = []
    with _flight_recorder(batch) as record:
        for item in items:
            name = source(item)
            if batch is not None and name in batch.quarantine:
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
def _flight_recorder(batch: Batch | None) -> Iterator[Callable[[str], None]]:
    """Gives a function that writes an item's name where it survives the process."""
    if batch is None:
        yield lambda name: None
        return
    descriptor = os.open(batch.flight_record, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)

    def record(name: str) -> None:
        content = name.encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))

    try:
        yield record
    finally:
        os.close(descriptor)
