"""The command `biomedica`: everything that `python -m` does here, by one name."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from biomedica_kedro.close_match import close_match

COMMANDS = {
    "run": ("biomedica_kedro", "run the pipelines, as `kedro run` does", "--pipeline=extraction"),
    "browse": ("biomedica_kedro.archive", "search the archive, in a browser or by words", '"chest x-ray pneumonia"'),
    "label": ("biomedica_kedro.labels", "label image clusters in a browser or a spreadsheet", "--adjudicate"),
    "dashboard": ("biomedica_kedro.dashboard", "compare models and trainings in MLflow", "--no-browser"),
    "shards": ("biomedica_kedro.shards", "inspect, check, index, convert and audit shards", "inspect FOLDER"),
    "benchmark": ("biomedica_kedro.benchmark", "list, fetch and prepare the benchmark's tasks", "list"),
    "corpus": ("biomedica_corpus", "draw the embedded corpus anywhere", "FOLDER --contact-sheet sheet.png"),
}
"""By name: the module, what it does, and what an example gives it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands with the rest of the command line; its exit status becomes ours."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(help_text())
        return
    name, *rest = given
    if name not in COMMANDS:
        raise SystemExit(f"biomedica has no command {name!r}: {close_match(name, COMMANDS)}")
    sys.argv = [f"biomedica {name}", *rest]
    runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=False)


def help_text() -> str:
    """All commands with what they do, and an example of each."""
    told = [f"  {name:<11}{words}" for name, (_, words, _) in COMMANDS.items()]
    examples = [f"  biomedica {name} {example}" for name, (_, _, example) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: biomedica COMMAND [...]; `biomedica COMMAND --help` tells more",
            "",
            *told,
            "",
            "examples:",
            *examples,
            "",
        ]
    )
