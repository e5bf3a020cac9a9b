"""A batch function that worker processes can import: treats items slowly, and dies on the item "killer"."""

from __future__ import annotations

import os
import signal
import time

from biomedica_kedro.batches import map_items
from biomedica_kedro.records import REJECTS, to_table


def treat_batch(batch, seconds):
    def treat(item: str) -> dict[str, object]:
        if item == "killer":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        return {"source": item, "stage": "", "reason": str(os.getpid()), "detail": ""}

    rows, rejects = map_items(treat, batch.inputs["items"], stage="treat", source=str, batch=batch)
    return {"rows": to_table(rows, REJECTS), "rejects": to_table(rejects, REJECTS)}
