"""The command `biomedica`: everything that `python -m` does here, by one name."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass

from biomedica_kedro.close_match import close_match

_HELP = ("-h", "--help")


@dataclass(frozen=True, slots=True)
class Command:
    """A module that can be run.

    Attributes:
        module: what `python -m` is given.
        words: what it does.
        extra: the extra of the package that brings what it imports.
        examples: command lines behind the command's name, one of each subcommand at least.
    """

    module: str
    words: str
    extra: str
    examples: tuple[str, ...]


COMMANDS = {
    "run": Command(
        "biomedica_kedro", "run the pipelines, as `kedro run` does", "kedro",
        ("", "--pipelines=ingestion,extraction", "--from-nodes=extraction.parse_articles"),
    ),
    "browse": Command(
        "biomedica_kedro.archive", "search the archive, in a browser or by words", "archive",
        ("", '"chest x-ray pneumonia" --limit 5', "--image mine.png --where \"license_group = 'commercial'\""),
    ),
    "label": Command(
        "biomedica_kedro.labels", "label image clusters in a browser or a spreadsheet", "annotate",
        ("", "--adjudicate", '--ballot ballot.csv --expert "Dr. Ada"'),
    ),
    "dashboard": Command(
        "biomedica_kedro.dashboard", "compare models and trainings in MLflow", "kedro", ("", "--no-browser")
    ),
    "shards": Command(
        "biomedica_kedro.shards", "inspect, check, index, convert and audit shards of any origin", "shards",
        (
            "inspect data/05_model_input/dataset_shards --sheet sheet.png",
            "lint 'https://example.org/{000000..000123}.tar'",
            "index data-000000.tar --to indexed",
            "convert data-000000.tar --to converted",
            "refill published --to refilled --packages packages",
            "audit data",
        ),
    ),
    "benchmark": Command(
        "biomedica_kedro.benchmark", "list, fetch, prepare and compare the benchmark's tasks", "benchmark",
        (
            "list",
            "fetch pathmnist --folder downloads",
            "prepare pcam --source ~/Downloads/pcam",
            "validate",
            "compare data/01_raw/benchmark data/01_raw/evaluation_set",
        ),
    ),
    "corpus": Command(
        "biomedica_corpus", "draw the embedded corpus anywhere", "kedro",
        ("drawn", "drawn --articles 40 --contact-sheet sheet.png"),
    ),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands with the rest of the command line; its exit status becomes ours."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in _HELP:
        sys.stdout.write(help_text())
        return
    name, *rest = given
    if name not in COMMANDS:
        raise SystemExit(f"biomedica has no command {name!r}: {close_match(name, COMMANDS)}")
    sys.argv = [f"biomedica {name}", *rest]
    try:
        _help_of(name, rest) if set(rest) & set(_HELP) else _run(name)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("biomedica_"):
            raise
        wanted = f"pip install 'biomedica-kedro[{COMMANDS[name].extra}]'"
        raise SystemExit(f"biomedica {name} needs the package {error.name!r}: {wanted}") from error


def help_text() -> str:
    """All commands with what they do, and an example of each."""
    told = [f"  {name:<11}{command.words}" for name, command in COMMANDS.items()]
    shown = [f"  biomedica {name} {max(command.examples[:2], key=bool)}" for name, command in COMMANDS.items()]
    head = "usage: biomedica COMMAND [...]; `biomedica COMMAND --help` tells more"
    return "\n".join([head, "", *told, "", "examples:", *shown, ""])


def _run(name: str) -> None:
    runpy.run_module(COMMANDS[name].module, run_name="__main__", alter_sys=False)


def _help_of(name: str, rest: Sequence[str]) -> None:
    """The module's own help in the words of this command, and examples of what is asked about."""
    told = io.StringIO()
    try:
        with redirect_stdout(told):
            _run(name)
    finally:
        sys.stdout.write(told.getvalue().replace(f"python -m {COMMANDS[name].module}", f"biomedica {name}"))
        about = "" if rest[0].startswith("-") else rest[0]
        examples = [f"  biomedica {name} {each}".rstrip() for each in COMMANDS[name].examples if each.startswith(about)]
        sys.stdout.write("\n".join(["", "examples:", *examples, ""]) if examples else "")
