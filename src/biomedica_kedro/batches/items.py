"""Map a function over items so that one bad item becomes a reject and never stops the batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from biomedica_kedro.records import DataError, Reject, RejectReason

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_items(
    function: Callable[[Item], Result], items: Iterable[Item], *, stage: str, source: Callable[[Item], str]
) -> tuple[list[Result], list[Reject]]:
    """Apply `function` to every item; in = results + rejects, always.

    Args:
        function: treats one item; raises `DataError` when the item cannot be used.
        items: what to treat.
        stage: name of the stage, for the reject.
        source: names an item ("PMC10009416.1", "PMC10009416.1/F2/x.jpg"), for the reject.
    Returns:
        Results in the order of the items, and one reject per item that failed.
    """
    results: list[Result] = []
    rejects: list[Reject] = []
    for item in items:
        try:
            results.append(function(item))
        except DataError as error:
            rejects.append(Reject(source(item), stage, error.reason, error.detail))
        except Exception as error:
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                # The machine failed, not the item: a full disk must stop the stage, not empty the data set.
                raise RuntimeError(f"{stage} failed on {source(item)}: {type(error).__name__}: {error}") from error
            logger.debug("%s: unexpected error on %s", stage, source(item), exc_info=True)
            rejects.append(
                Reject(source(item), stage, RejectReason.UNEXPECTED_ERROR, f"{type(error).__name__}: {error}")
            )
    return results, rejects
