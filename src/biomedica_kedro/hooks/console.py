"""The console: bars and a line a stage with counts and rates, a closing panel, and errors that say what to do."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from biomedica_kedro.hooks.bars import Bars
from biomedica_kedro.hooks.journal import Entry, Journal
from biomedica_kedro.hooks.places import data_root_of

if TYPE_CHECKING:
    import pandas as pd

_NAME_WIDTH = 30
_SHOWN_ROWS = {
    "articles": "articles",
    "image_caption_pairs": "image-caption pairs",
    "dataset_metadata": "samples in shards",
}
_COUNTING = "extraction.report_extraction"
_COUNTS = "corpus_summary"
_PAIRING = "params:extraction.pair_images_with_captions"
_AUDITING = "serialization.audit_shards"
_SUMMARY = "benchmark_summary"
_SCORING = "evaluation.compare_models"
_FLOW, _SUMMING_UP = "run_summary", "evaluation.write_report"
_REPORTS = "08_reporting"
_MOST_REASONS = 4


class ConsoleHooks:
    """Tell the user what runs, what came out and where to look; `BIOMEDICA_TRACEBACK=1` adds the traceback."""

    def __init__(self, journal: Journal) -> None:
        """Args: journal: of the run."""
        self._console = Console(highlight=False, soft_wrap=True)
        self._journal = journal
        self._mlflow_port = "5001"
        self._data_root = "data"
        self._running: list[str] = []
        self._bars = Bars(self._console)
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
        self._data_root = data_root_of(context.config_loader)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Note what runs, for the command that resumes, and show it."""
        self._running.append(node.name)
        self._bars.begin(node.name)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Print the line of a node."""
        self._running.remove(node.name)
        self._bars.end(node.name)
        entry = next((entry for entry in reversed(self._journal.entries()) if entry.node == node.name), None)
        if entry is not None:
            self._console.print(_line(entry))

    @hook_impl
    def on_node_error(self) -> None:
        """Take the bars away before the failure is told."""
        self._bars.stop()

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """Print the closing panel."""
        self._bars.stop()
        self._console.print(self._closing_panel(self._journal.entries(), pipeline, catalog))
        self._journal.close()

    def _closing_panel(self, entries: Sequence[Entry], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> Panel:
        table = Table.grid(padding=(0, 2))
        table.add_row("done", _told(entries), style="bold")
        nodes = {entry.node for entry in entries}
        counts = _steps(catalog.load(_FLOW)["flow"]) if _SUMMING_UP in nodes else _counts(entries, catalog)
        if counts is not None:
            table.add_row("data", counts)
        if _AUDITING in nodes:
            from biomedica_kedro.shards.audited import LastAudit  # reads images: not for every command

            last = LastAudit.of(catalog.load("dataset_shards"), catalog.load("shard_audit"))
            table.add_row("audit", f"{last.told()}\nagain: biomedica shards audit {self._data_root}")
        if _SCORING in nodes:
            summary = catalog.load(_SUMMARY)
            if summary["scores"]:  # there are none of models that read no text
                table.add_row("score", _scores(summary["scores"]))
            for model, reason in summary["left_out"].items():
                table.add_row("left out", f"{model}: {reason}")
        for name, told in _pages(nodes, self._mlflow_port):
            table.add_row(name, told)
        if _SUMMING_UP in nodes:
            table.add_row("report", f"{self._data_root}/{_REPORTS}/report.html")
        layers = sorted({layer for node in pipeline.nodes for name in node.outputs if (layer := _layer(name, catalog))})
        if layers:
            table.add_row("files", f"{self._data_root}/{layers[-1]}")
        return Panel(table, title="biomedica-kedro", title_align="left", expand=False)

    def tell_how_to_resume(self, why: str = "") -> None:
        """Print the command that goes on, outside of any box so that it can be copied; `why` comes before it."""
        self._bars.stop()
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        if why:
            console.print(why, markup=False)
        again = "To resume, run the same command again (what is finished is kept)"
        if self._running:
            console.print(f"{again}, or start at this stage:")
            console.print(_command_from(self._running[-1]), markup=False)
        elif why:  # between two stages
            console.print(f"{again}.")

    def _show_failure(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None, /) -> None:
        lines = Text()
        if self._running:
            lines.append(f"stage {self._running[-1]} failed\n", style="bold")
        lines.append(f"{_message(error)}\n\nFor the traceback set BIOMEDICA_TRACEBACK=1.")
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(Panel(lines, title=kind.__name__, title_align="left", border_style="red"), soft_wrap=False)
        self.tell_how_to_resume()
        logging.getLogger(__name__).debug("%s", "".join(traceback.format_exception(kind, error, trace)))


def _command_from(node: str) -> str:
    """The command that was given, started at a node."""
    kept = [argument for argument in sys.argv[1:] if not argument.startswith("--from-nodes=")]
    return shlex.join(["kedro", *kept, f"--from-nodes={node}"])


def _pages(nodes: Collection[str], mlflow_port: str) -> Iterator[tuple[str, str]]:
    """Where to look at what this run made, and nothing else."""
    server = f"make mlflow   http://127.0.0.1:{mlflow_port}/#/experiments"
    if "modeling.train_clip" in nodes:
        yield "models", f"{server}/2/runs"
    if "evaluation.publish_benchmark" in nodes:
        yield "scores", f"{server}/3/runs"
    if "modeling.index_archive" in nodes:
        yield "search", "make browse   in a browser, or python -m biomedica_kedro.archive WORDS"
    if "annotation.draw_annotation_sheets" in nodes:
        yield "label", "make label    clusters of images, in a browser"
    yield "graph", "make viz      http://127.0.0.1:4141"


def _told(entries: Sequence[Entry]) -> str:
    """What was done: "38 stages and reports up to date", "12 computed, 26 up to date"."""
    n_same = sum(entry.is_up_to_date for entry in entries)
    n_computed = sum(entry.computed > 0 for entry in entries)
    if n_computed == 0:
        return f"{n_same} stages and reports, all up to date"
    return f"{n_computed} stages and reports computed" + (f", {n_same} up to date" if n_same else "")


def _scores(numbers: Mapping[str, Mapping[str, float]]) -> Table:
    """The numbers of the leaderboard, every model a column."""
    models = list(dict.fromkeys(model for values in numbers.values() for model in values))
    table = Table.grid(padding=(0, 2))
    table.add_row(*models, "")
    for name, values in numbers.items():
        cells = [f"{values[model]:.3f}" if model in values else "–" for model in models]
        table.add_row(*cells, _words(name))
    return table


def _steps(flow: Sequence[Mapping[str, Any]]) -> Table:
    """The way from the listing of articles to the training, a line a step with what left there."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    for step in flow:
        left = ", ".join(f"{n:,} {_words(reason)}" for reason, n in list(step["left"].items())[:_MOST_REASONS])
        more = ", …" if len(step["left"]) > _MOST_REASONS else ""
        table.add_row(f"{step['records']:,}", step["name"], Text(left and f"left: {left}{more}", style="dim"))
    return table


def _counts(entries: Sequence[Entry], catalog: CatalogProtocol[Any, Any]) -> str | None:
    """What a part of the pipelines made; None when it made nothing of what is shown."""
    rows = {name: n for entry in entries for name, n in entry.rows.items()}
    shown = {name: f"{rows[name]:,} {words}" for name, words in _SHOWN_ROWS.items() if name in rows}
    if "image_caption_pairs" in shown and any(entry.node == _COUNTING for entry in entries):
        shown["image_caption_pairs"] = _funnel(catalog.load(_COUNTS), catalog.load(_PAIRING).kinds)
    return "\n".join(shown.values()) or None


def _layer(name: str, catalog: CatalogProtocol[Any, Any]) -> str:
    """Layer of a data set that lies in the data root; empty for what does not."""
    metadata = getattr(catalog.get(name), "metadata", None) or {}
    return str(metadata.get("kedro-viz", {}).get("layer", ""))


def _line(entry: Entry) -> Text:
    line = Text(f"{entry.node.rpartition('.')[2]:<{_NAME_WIDTH}}")
    if entry.is_up_to_date:
        return line.append(" up to date", style="dim")
    line.append(f"{entry.seconds:8.1f} s")
    counts = [f"{n:,} {_words(name)}" for name, n in entry.rows.items() if n]
    skipped = [f"{n:,} {_words(reason)}" for reasons in entry.rejects.values() for reason, n in reasons.items()]
    if counts:
        line.append(f"  {', '.join(counts)}")
    if skipped:
        line.append(f"; skipped: {', '.join(skipped)}")
    rate = max(entry.rows.values(), default=0) / max(entry.seconds, 1e-9)
    return line.append(f"  ({rate:,.0f}/s)" if rate >= 1 else "", style="dim")


def _funnel(counts: pd.DataFrame, kinds: Collection[str]) -> str:
    """From figures to pairs: "55 figures -> 49 image-caption pairs; skipped: 310 equations, 7 tables"."""
    found = counts[counts["measure"] == "figures by kind"].set_index("name")["count"].sort_values(ascending=False)
    n_pairs = counts[(counts["measure"] == "total") & (counts["name"] == "pairs")]["count"].sum()
    is_taken = found.index.isin(kinds)
    line = f"{found[is_taken].sum():,} figures -> {n_pairs:,} image-caption pairs"
    skipped = [f"{n:,} {_words(str(kind))}{'s' * (n != 1)}" for kind, n in found[~is_taken].items()]
    return f"{line}; skipped: {', '.join(skipped)}" if skipped else line


def _message(error: BaseException) -> str:
    """The error's own words and those of its first cause, without repetition."""
    texts = [str(error) or type(error).__name__]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None:
        if str(cause) and str(cause) not in texts[-1]:
            texts.append(f"because {type(cause).__name__}: {cause}")
        cause = cause.__cause__
    return "\n".join(texts)


def _words(name: str) -> str:
    return name.replace("_", " ")
