"""The benchmark's command line: list tasks, prepare data sets, check them.

    python -m biomedica_kedro.benchmark list
    python -m biomedica_kedro.benchmark prepare pcam --source ~/Downloads/pcam --target data/01_raw/benchmark
    python -m biomedica_kedro.benchmark validate --target data/01_raw/benchmark

Nothing is ever downloaded: `list` says where each data set is and under which license.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.prepare import Prepared, prepare_task, validate_task
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.task import Task, TaskFileError, find_task, load_tasks

_SHOWN_REJECTS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 when all is well, 1 when a task has problems, 2 when nothing could be done."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        tasks = load_tasks(options.tasks)
        match options.command:
            case "list":
                lines, is_well = _list(tasks), True
            case "prepare":
                task = find_task(tasks, options.task)
                prepared = prepare_task(task, options.source, options.target, split=options.split)
                lines, is_well = _report(prepared), not prepared.problems
            case _:
                lines, is_well = _validate(tasks, options.target)
    except (TaskFileError, LoaderError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if is_well else 1


def _list(tasks: dict[str, Task]) -> list[str]:
    width = max(map(len, tasks))
    return [
        f"{task.id:<{width}}  {task.domain:<22}  {task.kind:<11}  {task.source.access:<12}  "
        f"{task.source.license:<38}  {task.source.url}"
        for task in tasks.values()
    ]


def _report(prepared: Prepared) -> list[str]:
    lines = [f"{prepared.task_id}: {prepared.n_rows} samples, {len(prepared.rejects)} rejects"]
    shown = prepared.rejects[:_SHOWN_REJECTS]
    lines += [f"  left out {reject.source}: {reject.reason}: {reject.detail}" for reject in shown]
    if len(prepared.rejects) > _SHOWN_REJECTS:
        lines.append(f"  and {len(prepared.rejects) - _SHOWN_REJECTS} more, see rejects.parquet")
    return lines + [f"  problem: {problem}" for problem in prepared.problems]


def _validate(tasks: dict[str, Task], target: Path) -> tuple[list[str], bool]:
    store = SampleStore((target,))
    lines: list[str] = []
    is_well = True
    for task_id in store.task_ids():
        samples = store.find(task_id)
        problems = validate_task(find_task(tasks, task_id), samples) if samples else []
        is_well = is_well and not problems
        lines.append(f"{task_id}: {'ok' if not problems else '; '.join(problems)}")
    return lines or [f"{target} holds no prepared task"], is_well


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m biomedica_kedro.benchmark", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", type=Path, action="append", default=[], help="your own task file or folder of them")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every task, where its data are and under which license")
    prepare = commands.add_parser("prepare", help="bring a data set into the interchange form")
    prepare.add_argument("task")
    prepare.add_argument("--source", type=Path, required=True, help="the data as distributed, unpacked")
    prepare.add_argument("--target", type=Path, default=Path("data/01_raw/benchmark"))
    prepare.add_argument("--split", default="test", choices=["test", "train"])
    validate = commands.add_parser("validate", help="check prepared tasks")
    validate.add_argument("--target", type=Path, default=Path("data/01_raw/benchmark"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
