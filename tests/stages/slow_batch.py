"""A stage that worker processes can import: treats items slowly, and dies on the item "killer"."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

from biomedica_kedro.records import HOW, REJECTS, Options, to_table
from biomedica_kedro.stages.stage import stage


class Pace(Options):
    """How slowly."""

    seconds: Annotated[float, HOW] = 0.0


@stage(version=1)
def treat_batch(batch, pace):
    def treat(item: str) -> dict[str, object]:
        if item == "killer":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(pace.seconds)
        return {"source": item, "stage": "", "reason": str(os.getpid()), "detail": ""}

    return {"rows": to_table(batch.map(treat, batch.inputs["items"], source=str), REJECTS)}
