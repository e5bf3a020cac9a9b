"""The evaluation set that the paper's authors released: a second source of samples for any task it holds.

Parquet files of several suites; a row has its image, the name of its task, its own options and the position of the
answer. Which names it uses is not listed anywhere: a task is found by its id, its title, the data set it is part of,
or a name in its `released_as`; what is not found is reported with its size, never guessed.
Source: Hub BIOMEDICA/Biomedica2025EvalSet (77 files); rows with one option, without a task or with an answer out of
range were reported by readers of it, and become rejects.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.loaders.columns import SUFFIXES
from biomedica_kedro.benchmark.loaders.options import ParquetOptions
from biomedica_kedro.benchmark.loaders.rows import LoaderError, need_columns, visible
from biomedica_kedro.benchmark.prepare import Prepared, prepare_together
from biomedica_kedro.benchmark.samples import IMAGE_SET, SampleStore
from biomedica_kedro.benchmark.task import Kind, Task, find_task

NAME = "evaluation_set"
TASK_COLUMN = "task"
LAYOUT = ParquetOptions(
    kind="parquet", options_column="options", label_column="answer_idx", name_column="label", id_column="image_id",
    license_column="provenance_license",
)  # fmt: skip
_NOT_IN_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Contents:
    """What the released files hold.

    Attributes:
        tasks: name in the files -> the task it is.
        unknown: name in the files -> (rows, what it may be); these rows are left out.
    """

    tasks: Mapping[str, Task]
    unknown: Mapping[str, tuple[int, str]]


def read_contents(folder: Path, tasks: Mapping[str, Task], named: Mapping[str, str] | None = None) -> Contents:
    """Which tasks the files hold; only the column of names is read.

    Args:
        folder: the files as released.
        tasks: the registry.
        named: name in the files -> task id, for names that are not found by themselves.
    Raises:
        LoaderError: when there is no Parquet file, one is not readable, or two names are the same task.
        TaskFileError: when `named` names a task that does not exist.
    """
    counts = _count(folder)
    known = {_plain(name): task for task in tasks.values() for name in _names_of(task)}
    given = {name: find_task(tasks, task_id) for name, task_id in (named or {}).items()}
    found: dict[str, Task] = {}
    unknown: dict[str, tuple[int, str]] = {}
    for name, number in sorted(counts.items()):
        task = given.get(name) or known.get(_plain(name))
        if task is None:
            close = get_close_matches(_plain(name), known, n=1)
            unknown[name] = number, known[close[0]].id if close else ""
            continue
        taken = next((other for other, known_task in found.items() if known_task.id == task.id), None)
        if taken is not None:
            raise LoaderError(f"{folder}: both {taken!r} and {name!r} are task {task.id!r}: name one of them otherwise")
        found[name] = task
    return Contents(found, unknown)


def prepare_evaluation_set(folder: Path, target: Path, contents: Contents) -> list[Prepared]:
    """Write the samples of every task that the files hold, in one pass over them.

    Args:
        folder: the files as released.
        target: folder of prepared tasks; not the one that holds samples of the original sources.
        contents: of `read_contents`.
    Raises:
        LoaderError: when no task is known, or the folder holds samples of another source.
    """
    if not contents.tasks:
        raise LoaderError(f"{folder}: none of its tasks is known: {', '.join(contents.unknown)}")
    for task in contents.tasks.values():
        samples = SampleStore((target,)).find(task.id)
        if samples is not None and not str(samples.provenance().get(IMAGE_SET, "")).startswith(NAME):
            raise LoaderError(
                f"{target} holds {task.id} of its original data, which would be lost: choose another folder"
            )
    return prepare_together(
        [as_released(task, name) for name, task in contents.tasks.items()], folder, target, name=NAME
    )


def as_released(task: Task, name: str) -> Task:
    """The task with a loader for its rows in the released files."""
    loader = LAYOUT.model_copy(update={"where": {TASK_COLUMN: name}})
    return task.model_copy(update={"loader": loader, "n_expected": None})


def _names_of(task: Task) -> set[str]:
    """Under which a task may stand in the files; a task of image-caption pairs has no options, and so none."""
    if task.kind is Kind.RETRIEVAL:
        return set()
    where = task.loader.where if isinstance(task.loader, ParquetOptions) else {}
    return {task.id, task.title, *task.released_as, *filter(None, [where.get("dataset")])}


def _count(folder: Path) -> Counter[str]:
    paths = [path for path in visible(folder, LAYOUT.files)[0] if path.suffix in SUFFIXES]
    if not paths:
        raise LoaderError(f"{folder} holds no .parquet file: expected those of the released evaluation set")
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            need_columns(path, [TASK_COLUMN, "options", "answer_idx"], pq.read_schema(path).names)
            names = pq.read_table(path, columns=[TASK_COLUMN])[TASK_COLUMN]
        except pa.ArrowInvalid as error:
            raise LoaderError(f"{path} is not a readable Parquet file: {error}") from error
        counts.update(str(name) for name in names.to_pylist())
    return counts


def _plain(name: str) -> str:
    return _NOT_IN_NAME.sub("", name.casefold())
