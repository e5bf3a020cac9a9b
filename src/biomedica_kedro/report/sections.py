"""What the page of a run says of each stage, from the tables and pictures that the stages left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import Split
from biomedica_kedro.report.curves import training_curves
from biomedica_kedro.report.page import Bar, Section

if TYPE_CHECKING:
    import pandas as pd

_CLUSTER_COLUMNS = ("cluster_id", "status", "n_experts", "primary_labels", "agreement")
_NONE = "none"
Summary = Mapping[str, Any]
"""As `flow.summary_of` makes it."""


def flow_section(summary: Summary) -> Section:
    """From the listing of articles to the training, a bar a step, with what left there."""
    bars = [
        Bar(step["name"], step["records"], notes=[f"{n:,} {_words(reason)}" for reason, n in step["left"].items()])
        for step in summary["flow"]
    ]
    note = "What is counted changes on the way: an article has several figures. Beside a bar: what left at this step."
    return Section(title="Funnel", note=note, bars=bars, otherwise="No stage of this project has run.")


def license_section(summary: Summary) -> Section:
    """Articles by license."""
    bars = [
        Bar(f"{row['license']} ({row['group']})", row["selected"] + row["excluded"], notes=_excluded(row))
        for row in summary["licenses"]
    ]
    return Section(title="Licenses", note="Articles that the source lists.", bars=bars)


def reject_section(summary: Summary) -> Section:
    """Every reason why something left, with its step."""
    rows = [(step["name"], _words(reason), f"{n:,}") for step in summary["flow"] for reason, n in step["left"].items()]
    return Section(
        title="Rejects", headings=("step", "reason", "records"), rows=rows, otherwise="Nothing left the flow.",
        note="What each reason means stands in docs/rejects.md; `make browse` shows the records.",
    )  # fmt: skip


def cluster_section(cluster_labels: pa.Table | None, largest: bytes | None) -> Section:
    """How many clusters go by which concept, and the largest ones.

    Args:
        cluster_labels: rows of `cluster_labels`.
        largest: picture of their contact sheets.
    """
    rows = [] if cluster_labels is None else cluster_labels.select(_CLUSTER_COLUMNS).to_pylist()
    concepts = Counter((row["primary_labels"] or [_NONE])[0] for row in rows)
    n_voted = sum(row["n_experts"] > 0 for row in rows)
    return Section(
        title="Clusters", note=f"{len(rows):,} clusters, {n_voted:,} voted on; clusters by their first global concept.",
        bars=[Bar(name, n) for name, n in concepts.most_common()], pictures=_given({"Largest clusters": largest}),
    )  # fmt: skip


def sample_section(sheet: bytes | None) -> Section:
    """Some of the published samples."""
    return Section(title="Samples", pictures=_given({"Samples with captions and labels": sheet}))


def training_section(counts: pa.Table | None, history: pa.Table | None) -> Section:
    """What was trained on, by concept, and how it went.

    Args:
        counts: rows of `training_counts`.
        history: rows of `training_history`.
    """
    rows = [] if counts is None else counts.filter(pc.equal(counts["split"], Split.TRAIN.value)).to_pylist()
    bars = [Bar(row["concept"], row["selected"], notes=[f"of {row['available']:,}"]) for row in rows]
    is_trained = history is not None and history.num_rows > 0
    note = "Training samples by concept, of those there are."
    if is_trained and history is not None:
        note += f" {pc.max(history['step']).as_py():,} steps."
    curves = [training_curves(history)] if is_trained and history is not None else []
    return Section(title="Training", note=note, bars=bars, curves=curves)


def score_section(table: pd.DataFrame, errors: bytes | None) -> Section:
    """Headline score of every model on every task, with its interval, and where the leading one errs.

    Args:
        table: of `benchmark.tables.benchmark_table`.
        errors: picture of the leading model's confusion matrices and reliability curves.
    """
    models = sorted(table["model_id"].unique())
    rows = []
    for _, of_task in table.groupby(["domain", "task"], sort=True):
        by_model = {str(row["model_id"]): row for row in of_task.to_dict("records")}
        first = next(iter(by_model.values()))
        head = (first["title"], first["metric"], _number(first["chance"]))
        scores = [_score(by_model[model]) if model in by_model else "–" for model in models]
        rows.append((*head, *scores, first["n"], first["samples"]))
    return Section(
        title="Scores", note="With 95 % bootstrap intervals; everything else stands in benchmark/leaderboard.html.",
        headings=("task", "metric", "chance", *models, "n", "samples"), rows=rows,
        pictures=_given({"Where the leading model errs": errors}), otherwise="No task has samples.",
    )  # fmt: skip


def _score(row: Mapping[Any, Any]) -> str:
    low, high = _number(row["ci_low"]), _number(row["ci_high"])
    return _number(row["value"]) + (f" ({low} – {high})" if low != "–" else "")


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _excluded(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['excluded']:,} not selected"] if row["excluded"] else []


def _given(pictures: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {name: picture for name, picture in pictures.items() if picture is not None}


def _words(name: str) -> str:
    return name.replace("_", " ")
