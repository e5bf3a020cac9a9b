"""What a training run reports to, and the one that only remembers (tests, notebooks, runs without a server)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """What is known of a training run before it starts.

    Attributes:
        key: the same for a run and for its resumption after a kill.
        name: shown in the run table.
        parameters: by dotted name.
        data_name: recipe or data set the run reads.
        data_digest: digest of the training manifest.
        n_samples: samples of the training split.
    """

    key: str
    name: str
    parameters: Mapping[str, object]
    data_name: str
    data_digest: str
    n_samples: int


class TrainingLog(Protocol):
    """Where live metrics, artifacts and the model of a training run go."""

    def start(self, run: RunDescription) -> None:
        """Open the run, or reopen the one with the same key that was killed."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report metrics of a step; may be buffered."""
        ...

    def artifact(self, path: Path) -> None:
        """Keep a file with the run."""
        ...

    def model(self, weights: Path, config: Path, metrics: Mapping[str, float], step: int) -> None:
        """Keep the trained model with the run and name it the candidate."""
        ...

    def finish(self, *, failed: bool = False) -> None:
        """Close the run."""
        ...


@dataclass(slots=True)
class MemoryLog:
    """Remembers what was reported."""

    run: RunDescription | None = None
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    status: str = "NONE"

    def start(self, run: RunDescription) -> None:
        """See `TrainingLog`."""
        self.run, self.status = run, "RUNNING"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        self.metrics.append((step, dict(values)))

    def artifact(self, path: Path) -> None:
        """See `TrainingLog`."""
        self.artifacts.append(path.name)

    def model(self, weights: Path, config: Path, metrics: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        self.artifacts += [weights.name, config.name]

    def finish(self, *, failed: bool = False) -> None:
        """See `TrainingLog`."""
        self.status = "FAILED" if failed else "FINISHED"
