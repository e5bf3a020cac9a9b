"""Run an async function over many items with a bound on how many are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from biomedica_kedro.http import connections

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 64


def run_bounded(function: Callable[[Item], Awaitable[Result]], items: Sequence[Item], *, limit: int) -> list[Result]:
    """Results of `function` in the order of the items, at most `limit` items at once.

    The event loop lives in a thread of its own, so this also works where one is running already (notebooks). Requests
    made by `http` share their connections. The first exception stops everything and is raised.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="bounded") as thread:
        return thread.submit(asyncio.run, _run(function, items, limit)).result()


async def _run(function: Callable[[Item], Awaitable[Result]], items: Sequence[Item], limit: int) -> list[Result]:
    # asyncio's own pool has but a few threads on a small machine, and items may wait in theirs
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(min(limit, _MAX_THREADS)))
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for position, item in waiting:
            results[position] = await function(item)

    try:
        async with connections(), asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(items))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[position] for position in range(len(items))]
