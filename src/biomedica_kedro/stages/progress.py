"""How far a long piece of work is: a line in the log now and then, or what a listener makes of it.

Every advance is a record of the logger `advances` at level DEBUG, with the work as its attribute `work`: the console's
bars listen to it. Where nobody does it costs nothing.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import NamedTuple

logger = logging.getLogger(__name__)
advances = logging.getLogger(f"{__name__}.advances")

_SECONDS_BETWEEN_LINES = 10.0


class Work(NamedTuple):
    """How far a stage is.

    Attributes:
        stage: whose work it is.
        done: how much of it is done.
        total: how much there is.
        unit: of what: "batches", "steps".
    """

    stage: str
    done: int
    total: int
    unit: str


def tell(work: Work) -> None:
    """Tell whoever listens how far a stage is."""
    if advances.isEnabledFor(logging.DEBUG):
        advances.debug("%s: %d of %d %s", *work, extra={"work": work})


@dataclass(slots=True)
class Progress:
    """Counts what is done of a stage's work, and writes a line now and then.

    Attributes:
        stage: whose work it is.
        total: how much there is.
        unit: of what.
    """

    stage: str
    total: int
    unit: str
    _done: int = 0
    _first: float = 0.0
    _line: float = field(default_factory=lambda: time.monotonic())

    def advance(self) -> None:
        """One more is done."""
        now = time.monotonic()
        self._done += 1
        tell(Work(self.stage, self._done, self.total, self.unit))
        if self._done == 1:
            self._first = now  # it took the start of workers and models, too, and foretells nothing
        elif now - self._line >= _SECONDS_BETWEEN_LINES and self._done < self.total:
            self._line = now
            rate = (self._done - 1) / (now - self._first)
            togo = duration((self.total - self._done) / rate)
            logger.info("%s: %d of %d %s, %.3g/s, %s to go", self.stage, self._done, self.total, self.unit, rate, togo)


def duration(seconds: float) -> str:
    """A time as people read it: "20 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
