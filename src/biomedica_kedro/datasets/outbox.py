"""Events on their way to a store that may be slow, locked or away: kept in order, in a file, until they have arrived.

Who puts an event never waits. The file survives a kill; delivering an event twice must do no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import orjson

logger = logging.getLogger(__name__)

Event: TypeAlias = Mapping[str, Any]
SUFFIX = ".jsonl"
_SECONDS_BETWEEN_CALLS = 2.0
_EVENTS_A_CALL = 200
_LONGEST_UPLOAD = 1800.0


class Outbox:
    """Delivers events in a thread of its own.

    Args:
        file: where events wait; None: in memory only.
        deliver: takes events of one kind, in order; raises one of `errors` when it must be tried again.
        errors: what the store raises while it cannot be reached.
    """

    def __init__(
        self,
        file: Path | None,
        deliver: Callable[[Sequence[Event]], None],
        errors: Callable[[], tuple[type[Exception], ...]],
    ) -> None:
        self.file = file
        self._deliver = deliver
        self._errors = errors
        self._waiting: deque[Event] = deque(read_events(file) if file is not None else [])
        self._condition = threading.Condition()
        self._is_urgent = False
        self._is_closed = False
        self.failure: Exception | None = None
        threading.Thread(target=self._run, name="outbox", daemon=True).start()

    def put(self, event: Event) -> None:
        """Take an event; it is delivered within seconds, with those that came with it."""
        with self._condition:
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("ab", buffering=0) as file:
                    # begins with a line feed, too: a kill may have cut the last line short
                    file.write(b"\n" + orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            self._waiting.append(event)
            self._condition.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait so long at most for all events to arrive; gives whether they have."""
        with self._condition:
            self._is_urgent = True
            self._condition.notify_all()
            done = self._condition.wait_for(lambda: not self._waiting, timeout=seconds)
            self._is_urgent = False
            return done

    def close(self, seconds: float) -> int:
        """Deliver what waits, as long as the store takes it, and stop; gives how many events still wait in the file.

        Args:
            seconds: how long to try on at a store that fails.
        """
        with self._condition:
            self._is_urgent = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._waiting or self.failure, timeout=_LONGEST_UPLOAD)
        self.flush(seconds)
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
            if not self._waiting and self.file is not None:
                forget(self.file)
            return len(self._waiting)

    def _run(self) -> None:
        last = 0.0
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._is_closed or bool(self._waiting))
                due = last + _SECONDS_BETWEEN_CALLS
                hurries = self._is_urgent and self.failure is None
                while not (self._is_closed or hurries) and time.monotonic() < due:
                    self._condition.wait(due - time.monotonic())
                    hurries = self._is_urgent and self.failure is None
                if self._is_closed:
                    return
                events = first_of_a_kind(self._waiting)
            self._try(events)
            last = time.monotonic()

    def _try(self, events: Sequence[Event]) -> None:
        try:
            self._deliver(events)
        except self._errors() as error:
            if self.failure is None:
                logger.debug("events wait: %s", error)
            with self._condition:
                self.failure = error
                self._condition.notify_all()
            return
        with self._condition:
            self.failure = None
            for _ in events:
                self._waiting.popleft()
            self._condition.notify_all()


def first_of_a_kind(events: Sequence[Event]) -> list[Event]:
    """The events from the first on that are of the same kind and can go in one call."""
    kind = events[0]["event"]
    found: list[Event] = []
    for event in events:
        if event["event"] != kind or len(found) == (_EVENTS_A_CALL if kind == "metrics" else 1):
            break
        found.append(event)
    return found


def forget(file: Path) -> None:
    """Remove a file of events that have all arrived, and its folder when it was the last."""
    file.unlink(missing_ok=True)
    with suppress(OSError):  # it holds others
        file.parent.rmdir()


def read_events(file: Path) -> list[Event]:
    """Events that wait in a file; a line that a kill cut short is passed over."""
    found: list[Event] = []
    for line in file.read_bytes().split(b"\n") if file.is_file() else []:
        if not line:
            continue
        try:
            found.append(orjson.loads(line))
        except ValueError:
            logger.debug("%s holds a line that was cut short", file)
    return found
