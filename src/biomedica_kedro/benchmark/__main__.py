"""The benchmark's command line: list tasks, fetch and prepare their data, check and compare them.

    python -m biomedica_kedro.benchmark list
    python -m biomedica_kedro.benchmark fetch --list
    python -m biomedica_kedro.benchmark fetch ubench pathmnist
    python -m biomedica_kedro.benchmark prepare ubench pathmnist
    python -m biomedica_kedro.benchmark prepare pcam --source ~/Downloads/pcam
    python -m biomedica_kedro.benchmark prepare evaluation_set
    python -m biomedica_kedro.benchmark compare data/01_raw/benchmark data/01_raw/evaluation_set
    python -m biomedica_kedro.benchmark validate

Nothing is downloaded but by `fetch`, and only what it is asked for.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from biomedica_kedro.benchmark import commands
from biomedica_kedro.benchmark.commands import DOWNLOADS, PREPARED, PREPARED_RELEASED, Lines, Places
from biomedica_kedro.benchmark.evaluation_set import NAME as EVALUATION_SET
from biomedica_kedro.benchmark.fetch.fetch import Fetcher
from biomedica_kedro.benchmark.fetch.sources import SourceError, load_sources
from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.task import Task, TaskFileError, load_tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 when all is well, 1 when a task has problems, 2 when nothing could be done."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        lines, is_well = _run(options, load_tasks(options.tasks), parser)
    except (TaskFileError, LoaderError, SourceError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if is_well else 1


def _run(options: argparse.Namespace, tasks: dict[str, Task], parser: argparse.ArgumentParser) -> Lines:
    sources = load_sources()
    match options.command:
        case "list":
            return commands.list_tasks(tasks, sources, Places(downloads=options.folder, prepared=options.target))
        case "fetch":
            if options.list:
                return commands.fetch_list(sources, Places(downloads=options.folder), ask=options.sizes)
            names = [*options.names, *(commands.open_sources(sources) if options.open else ())]
            if not names:
                parser.error("fetch: name what to fetch, or say --open or --list")
            return commands.fetch(names, sources, tasks, Fetcher(options.folder))
        case "prepare":
            is_released = EVALUATION_SET in options.names
            if is_released and options.names != [EVALUATION_SET]:
                parser.error(f"prepare {EVALUATION_SET} by itself: it goes into a folder of its own")
            target = options.target or (PREPARED_RELEASED if is_released else PREPARED)
            places = Places(downloads=options.folder, prepared=target, source=options.source)
            if is_released:
                return commands.prepare_released(dict(options.named), tasks, sources, places)
            return commands.prepare(options.names, tasks, sources, places, options.split)
        case "validate":
            return commands.validate(tasks, options.target)
        case _:
            return commands.compare(tasks, options.first, options.second)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m biomedica_kedro.benchmark", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", type=Path, action="append", default=[], help="your own task file or folder of them")
    commands_of = parser.add_subparsers(dest="command", required=True)
    by_name = {
        "list": "every task, whether its data are here, where they come from and under which license",
        "fetch": "download data sets, verified; what needs registration prints its steps",
        "prepare": "bring data sets into the interchange form",
        "validate": "check prepared tasks",
        "compare": "how the rows of two folders of prepared tasks differ",
    }
    added = {name: commands_of.add_parser(name, help=words) for name, words in by_name.items()}
    for name in ("list", "fetch", "prepare"):
        added[name].add_argument("--folder", type=Path, default=DOWNLOADS, help=f"of downloads ({DOWNLOADS})")
    for name in ("list", "validate"):
        added[name].add_argument("--target", type=Path, default=PREPARED, help=f"of prepared tasks ({PREPARED})")
    added["prepare"].add_argument("--target", type=Path, help=f"of prepared tasks ({PREPARED}, {PREPARED_RELEASED})")
    added["fetch"].add_argument("names", nargs="*", help="data sets or tasks")
    added["fetch"].add_argument("--open", action="store_true", help="everything that needs no registration")
    added["fetch"].add_argument("--list", action="store_true", help="what there is, and what it asks of you")
    added["fetch"].add_argument("--sizes", action="store_true", help="with --list: ask the servers how large it is")
    added["prepare"].add_argument("names", nargs="+", help=f"tasks, data sets, or {EVALUATION_SET}")
    added["prepare"].add_argument(
        "--source", type=Path, help="the data as distributed, where `fetch` did not bring them"
    )
    added["prepare"].add_argument("--split", choices=["test", "train"])
    added["prepare"].add_argument(
        "--named", type=_pair, action="append", default=[], metavar="NAME=TASK",
        help=f"which task a name in the {EVALUATION_SET} is, where it is not found by itself",
    )  # fmt: skip
    added["compare"].add_argument("first", type=Path)
    added["compare"].add_argument("second", type=Path)
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, equals, task = text.rpartition("=")
    if not equals or not name or not task:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TASK")
    return name, task


if __name__ == "__main__":
    raise SystemExit(main())
