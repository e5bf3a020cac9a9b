"""The console: a line a stage with counts and rates, a closing panel, and errors that say what to do."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from biomedica_kedro.hooks.journal import Journal, Stage

_NAME_WIDTH = 30
_SHOWN_ROWS = {
    "articles": "articles",
    "figures": "figures",
    "image_caption_pairs": "image-caption pairs",
    "dataset_metadata": "samples in shards",
}
_SUMMARY = "benchmark_summary/"


class ConsoleHooks:
    """Tell the user what runs, what came out and where to look; `BIOMEDICA_TRACEBACK=1` adds the traceback."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._journal = Journal()
        self._mlflow_port = "5001"
        self._data_root = "data"
        self._n_stages = 0
        if Path(sys.argv[0]).name == "kedro" and not os.environ.get("BIOMEDICA_TRACEBACK"):
            # Replaces the long traceback of a failed command by its message.
            sys.excepthook = self._show_failure
        # MLflow configures its loggers when it is imported, before or after these hooks are made
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        logging.getLogger("mlflow").setLevel(logging.WARNING)

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Learn where the results will be."""
        self._mlflow_port = str(context.config_loader["mlflow"].get("ui", {}).get("port", self._mlflow_port))
        self._data_root = str(context.config_loader["globals"].get("data_root", self._data_root))

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Begin a journal."""
        self._journal = Journal()
        self._n_stages = len(pipeline.nodes)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Note the start of a stage: its first input is loaded."""
        self._journal.begin(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Print the stage's line when its last output is saved."""
        stage = self._journal.saved(dataset_name, data)
        if stage is not None:
            self._console.print(_stage_line(stage))

    @hook_impl
    def after_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Print the closing panel."""
        self._console.print(self._closing_panel())

    def _closing_panel(self) -> Panel:
        table = Table.grid(padding=(0, 2))
        if self._journal.is_nothing_done:
            stages = "the stage is" if self._n_stages == 1 else f"all {self._n_stages} stages are"
            table.add_row("done", f"Nothing to do: {stages} up to date.", style="bold")
        rows = self._journal.rows()
        counts = [f"{rows[name]:,} {words}" for name, words in _SHOWN_ROWS.items() if name in rows]
        if counts:
            table.add_row("data", "\n".join(counts))
        for name, value in self._journal.numbers.items():
            if name.startswith(_SUMMARY):
                table.add_row("score", f"{value:.3f}  {_words(name.removeprefix(_SUMMARY))}")
        server = f"http://127.0.0.1:{self._mlflow_port}/#/experiments"
        table.add_row("models", f"make mlflow   {server}/2/runs")
        table.add_row("scores", f"make mlflow   {server}/3/runs")
        table.add_row("graph", "make viz      http://127.0.0.1:4141")
        table.add_row("files", f"{self._data_root}/08_reporting")
        return Panel(table, title="biomedica-kedro", title_align="left", expand=False)

    def _show_failure(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None, /) -> None:
        lines = Text()
        unfinished = next((stage for stage in self._journal.stages if stage.waiting), None)
        if unfinished is not None:
            lines.append(f"stage {unfinished.node} failed\n", style="bold")
        lines.append(f"{_message(error)}\n\n")
        if unfinished is not None:
            lines.append("To resume, run the same command again (what is finished is kept), or start at this stage:\n")
            lines.append(f"  {_command_from(unfinished.node)}\n")
        lines.append("For the traceback set BIOMEDICA_TRACEBACK=1.")
        Console(stderr=True, highlight=False).print(
            Panel(lines, title=kind.__name__, title_align="left", border_style="red")
        )
        logging.getLogger(__name__).debug("%s", "".join(traceback.format_exception(kind, error, trace)))


def _command_from(node: str) -> str:
    """The command that was given, started at a node."""
    kept = [argument for argument in sys.argv[1:] if not argument.startswith("--from-nodes=")]
    return shlex.join(["kedro", *kept, f"--from-nodes={node}"])


def _stage_line(stage: Stage) -> Text:
    line = Text(f"{stage.node.rpartition('.')[2]:<{_NAME_WIDTH}}")
    if stage.report is None:
        return line.append(f"{stage.seconds:8.1f} s")
    if stage.is_up_to_date:
        return line.append(" up to date", style="dim")
    counts = ", ".join(f"{n:,} {_words(name)}" for name, n in stage.report.rows.items() if n)
    rate = max(stage.report.rows.values(), default=0) / max(stage.seconds, 1e-9)
    line.append(f"{stage.seconds:8.1f} s")
    if counts:
        line.append(f"  {counts}")
    return line.append(f"  ({rate:,.0f}/s)" if rate >= 1 else "", style="dim")


def _message(error: BaseException) -> str:
    """The error's own words and those of its first cause, without repetition."""
    texts = [str(error) or type(error).__name__]
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if str(cause) and str(cause) not in texts[-1]:
            texts.append(f"because {type(cause).__name__}: {cause}")
        cause = cause.__cause__
    return "\n".join(texts)


def _words(name: str) -> str:
    return name.replace("_", " ")
