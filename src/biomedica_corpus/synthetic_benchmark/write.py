"""Writes the synthetic benchmark: every data set as distributed, and its samples as the benchmark reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from biomedica_corpus.synthetic_benchmark.distributed import write_distributed
from biomedica_kedro.batches.files import write_json
from biomedica_kedro.benchmark.prepare import Prepared, prepare_task
from biomedica_kedro.benchmark.task import PAPER_SUITE, Task

MANIFEST = "synthetic_benchmark.json"
SAMPLES = "samples"


def write_synthetic_benchmark(tasks: Mapping[str, Task], root: Path, *, suite: str = PAPER_SUITE) -> list[Prepared]:
    """Write and prepare synthetic samples for every task of a suite; done once, `synthetic_benchmark.json` says so.

    Args:
        tasks: the registry.
        root: gets `distributed/<task>` and `samples/<task>`.
        suite: which tasks.
    Returns:
        What was made of each task; nothing when the folder was complete.
    """
    if (root / MANIFEST).is_file():
        return []
    reports = []
    for task in tasks.values():
        if suite in task.counts_for and task.loader is not None:
            write_distributed(task, root / "distributed" / task.id)
            reports.append(prepare_task(task, root / "distributed" / task.id, root / SAMPLES, synthetic=True))
    write_json(root / MANIFEST, {"tasks": [report.task_id for report in reports], "synthetic": True})
    return reports
