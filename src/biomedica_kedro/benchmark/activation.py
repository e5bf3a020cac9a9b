"""Which tasks can run: those whose samples are present.

A missing data set is never an error: the task is listed with where to get the data and under which license.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from biomedica_kedro.benchmark.samples import SampleStore, TaskSamples
from biomedica_kedro.benchmark.task import Access, Task, find_task
from biomedica_kedro.records import Options

if TYPE_CHECKING:
    import pandas as pd

READY, MISSING = "ready", "missing"
COLUMNS = (
    "task", "title", "domain", "kind", "status", "n", "n_expected", "synthetic", "digest", "access",
    "license", "url", "wording", "images", "note",
)  # fmt: skip


class ActivationOptions(Options):
    """Which tasks run.

    Attributes:
        tasks: ids, or "all": every task whose samples are present.
    """

    tasks: tuple[str, ...] = ("all",)


def active_tasks(tasks: Mapping[str, Task], store: SampleStore, options: ActivationOptions) -> pd.DataFrame:
    """List the tasks wanted, and whether their samples are at hand.

    Args:
        tasks: the registry.
        store: where samples lie.
        options: which tasks are wanted.
    Returns:
        Columns `COLUMNS`.
    Raises:
        TaskFileError: when a task is asked for that does not exist.
    """
    import pandas as pd

    store.prepare()
    wanted = sorted(tasks) if "all" in options.tasks else sorted(find_task(tasks, name).id for name in options.tasks)
    rows = [_describe(tasks[name], store.find(name)) for name in wanted]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"n": "Int64", "n_expected": "Int64"})


def ready_tasks(active: pd.DataFrame) -> list[str]:
    """Ids of the tasks whose samples are present."""
    return [str(name) for name in active.loc[active["status"] == READY, "task"]]


def _describe(task: Task, samples: TaskSamples | None) -> dict[str, object]:
    row: dict[str, object] = {
        "task": task.id, "title": task.title, "domain": task.domain, "kind": str(task.kind), "status": MISSING,
        "n": None, "n_expected": task.n_expected, "synthetic": task.synthetic, "digest": "",
        "access": str(task.source.access), "license": task.source.license, "url": task.source.url,
        "wording": task.wording, "images": "", "note": "",
    }  # fmt: skip
    n = 0 if samples is None else samples.n_rows()
    if samples is None or (not n and task.source.access is Access.UNRELEASED):
        row["note"] = _how_to_get(task)
        return row
    if not n:
        row["note"] = f"no sample could be used: see {samples.folder / 'rejects.parquet'}"
        return row
    row |= {"status": READY, "n": n, "digest": samples.digest(), "synthetic": task.synthetic or samples.is_synthetic}
    row["images"] = samples.images_name
    if task.n_expected not in (None, samples.n_published()) and not samples.is_synthetic:
        row["note"] = f"{samples.n_published()} samples, {task.n_expected} were published"
    return row


def _how_to_get(task: Task) -> str:
    if task.source.access is Access.UNRELEASED:
        return "not released: nobody but its authors can measure this task"
    return f"no samples: get them from {task.source.url}, then `python -m biomedica_kedro.benchmark prepare`"
