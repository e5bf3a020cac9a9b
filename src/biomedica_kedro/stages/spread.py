"""Spread tasks over this process, local workers or a Dask cluster: one code path, progress shown, errors named.

Dask brings worker restart, retries, the dashboard and back-pressure; measured reasons stand in docs/adr/0003.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from biomedica_kedro.stages.progress import Progress

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

_RETRIES = 2
_TASKS_IN_FLIGHT_PER_WORKER = 4
_SECONDS_BETWEEN_LOOKS = 1.0


class Task(Protocol):
    """A unit of work that has a name."""

    @property
    def name(self) -> str:
        """Name of the batch."""
        ...

    def without_last_item(self) -> Task | None:
        """The task less the item on which its worker died; None when no such item is known."""
        ...

    def watched(self) -> Task:
        """The task, to be tried again so that the item on which a worker dies is known here."""
        ...


class Spreading(Protocol):
    """The options that say how to spread."""

    @property
    def workers(self) -> int:
        """Number of local workers; 0 is this process."""
        ...

    @property
    def address(self) -> str | None:
        """Address of a Dask scheduler, if any."""
        ...


class TaskError(Exception):
    """A task failed: says the stage, the batch, and the cause."""


def run_tasks(stage: str, function: Callable[[Any], None], tasks: Sequence[Task], options: Spreading) -> None:
    """Run `function` on every task; progress goes to the log.

    Raises:
        TaskError: when a task fails; tasks finished before it stay committed.
    """
    if not tasks:
        return
    in_process = options.workers == 0 and options.address is None
    finished = _run_here(stage, function, tasks) if in_process else _run_spread(stage, function, tasks, options)
    progress = Progress(stage, len(tasks), "batches")
    for _ in finished:
        progress.advance()


def _run_here(stage: str, function: Callable[[Any], None], tasks: Sequence[Task]) -> Iterator[str]:
    for task in tasks:
        try:
            function(task)
        except Exception as error:
            raise _task_error(stage, task.name, error) from error
        yield task.name


def _run_spread(
    stage: str, function: Callable[[Any], None], tasks: Sequence[Task], options: Spreading
) -> Iterator[str]:
    from distributed import KilledWorker

    client = client_for(options.workers, options.address)
    ended: Queue[Any] = Queue()
    running: dict[str, tuple[Task, Any]] = {}
    blamed: Counter[str] = Counter()
    waiting = iter(tasks)
    limit = _InFlight(client)

    def submit(task: Task) -> None:
        key = f"{stage}-{task.name}-{uuid4().hex[:8]}"
        future = client.submit(function, task, key=key, retries=_RETRIES, pure=False)
        running[key] = task, future  # a future that nobody holds is forgotten by the scheduler
        future.add_done_callback(ended.put)

    while True:
        for task in islice(waiting, max(0, limit() - len(running))):
            submit(task)
        if not running:
            return
        try:
            future = ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            continue  # workers may have joined
        task, _ = running.pop(str(future.key))
        # A result whose worker has died since is computed once more, while this waits: that is no error.
        error = None if future.status == "finished" else future.exception()
        if error is None:
            yield task.name
            continue
        if not isinstance(error, KilledWorker):
            raise _task_error(stage, task.name, error) from error
        survivor = task.without_last_item()
        if survivor is None:
            # Dask also blames tasks that only waited on a worker that died: they named no item and may try again
            blamed[task.name] += 1
            if blamed[task.name] > _RETRIES:
                raise _task_error(stage, task.name, error) from error
        submit(survivor or task.watched())


class _InFlight:
    """How many tasks may be in flight: so many for each worker there is now, asked once in a while."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._limit, self._asked = 0, -_SECONDS_BETWEEN_LOOKS

    def __call__(self) -> int:
        now = time.monotonic()
        if now - self._asked >= _SECONDS_BETWEEN_LOOKS:
            self._limit = max(1, len(self._client.nthreads())) * _TASKS_IN_FLIGHT_PER_WORKER
            self._asked = time.monotonic()
        return self._limit


@cache
def client_for(workers: int, address: str | None) -> Client:
    """The process-wide Dask client for these options; started once, closed at exit."""
    from distributed import Client, LocalCluster

    if address is not None:
        return Client(address)
    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1")
    client = Client(cluster)
    logger.info("%d workers, dashboard %s", workers, client.dashboard_link)
    atexit.register(cluster.close)
    atexit.register(client.close)
    return client


def _task_error(stage: str, batch: str, cause: BaseException | None) -> TaskError:
    return TaskError(f"stage {stage!r} failed on batch {batch!r}: {type(cause).__name__}: {cause}")
