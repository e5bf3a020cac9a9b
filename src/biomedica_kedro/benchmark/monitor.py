"""Which tasks are scored while a model is trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from biomedica_kedro.records import HOW, Options


class MonitorOptions(Options):
    """Which tasks are scored at validation steps; nothing of it changes the training.

    Attributes:
        tasks: ids; those without samples are left out.
        samples: of each task, at most: the first of its file.
    """

    tasks: Annotated[tuple[str, ...], HOW] = ()
    samples: Annotated[int, HOW] = Field(default=256, ge=1)
