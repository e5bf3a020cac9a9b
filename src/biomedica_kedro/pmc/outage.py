"""When a source is down rather than an article bad: stop, instead of recording failure after failure.

A thin archive that looks complete is worse than a run that stops and says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from biomedica_kedro.pmc.source import SourceError

_FAILURES_BEFORE_JUDGING = 20


@dataclass(slots=True)
class Outage:
    """Counts articles that could not be had for reasons that may pass.

    Attributes:
        max_share: the share of a batch's articles that may fail so.
        parameter: name of the parameter that says so, for the message.
    """

    max_share: float
    parameter: str
    n_done: int = 0
    failures: list[str] = field(default_factory=list)

    def count(self, failure: str | None) -> None:
        """Count an article, with what went wrong if something did.

        Raises:
            SourceError: when enough failed to tell that the source is down.
        """
        self.n_done += 1
        if failure is not None:
            self.failures.append(failure)
            if len(self.failures) >= _FAILURES_BEFORE_JUDGING:
                self.judge()

    def judge(self) -> None:
        """Decide on what was counted so far; to be called at the end of a batch.

        Raises:
            SourceError: when more than the allowed share failed.
        """
        if len(self.failures) > self.max_share * self.n_done:
            raise SourceError(
                f"{len(self.failures)} of {self.n_done} articles could not be downloaded, last {self.failures[-1]}. "
                "Check the network and the source, then run again: what is complete is not fetched twice "
                f"({self.parameter} says how much may fail)"
            )
