"""Writes the synthetic benchmark: every data set as released, and its samples as the benchmark reads them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from biomedica_corpus.draw_once import code_digest, draw_once
from biomedica_corpus.synthetic_benchmark.released.write import write_and_prepare
from biomedica_kedro.benchmark.prepare import Prepared
from biomedica_kedro.benchmark.task import PAPER_SUITE, Access, Task

logger = logging.getLogger(__name__)

MANIFEST = "synthetic_benchmark.json"
SAMPLES = "samples"


def write_synthetic_benchmark(tasks: Mapping[str, Task], root: Path, *, suite: str = PAPER_SUITE) -> list[Prepared]:
    """Write and prepare synthetic samples for every released task of a suite, once: `synthetic_benchmark.json` says so.

    Args:
        tasks: the registry.
        root: gets `released/<task>`, `released/ubench` and `samples/<task>`; absent, empty, or written before.
        suite: which tasks.
    Returns:
        What was made of each task; nothing when the folder was complete.
    Raises:
        FileExistsError: when the folder holds something else.
    """
    chosen = [
        task for task in tasks.values()
        if suite in task.counts_for and task.loader is not None and task.source.access is not Access.UNRELEASED
    ]  # fmt: skip
    described = "\n".join(task.model_dump_json() for task in chosen)
    reports: list[Prepared] = []

    def draw(folder: Path) -> dict[str, object]:
        logger.info("Drawing the synthetic benchmark of %d tasks", len(chosen))
        reports.extend(write_and_prepare(chosen, folder / "released", folder / SAMPLES))
        return {"synthetic": True}

    origin = {
        "tasks": [task.id for task in chosen],
        "tasks_digest": hashlib.sha256(described.encode()).hexdigest(),
        "code": code_digest(Path(__file__).parent / "released"),
    }
    draw_once(root, MANIFEST, origin, draw)
    return reports
