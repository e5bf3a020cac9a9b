"""What is published of a benchmark: one run a model, flat unique keys, task metrics with their data set.

Keys: `zs/<domain>/<task>/acc`, `ret/<task>/i2t_R_at_1`, `probe/<domain>/<task>/bacc`,
`avg/<samples>_<suite>/<domain>/acc`, `contam/<task>/frac`; and, for each metric that is also given by data set (`acc`,
`auroc`, ...), its plain name: the mean over the tasks with real samples, or over the synthetic ones where there are no
others. Which tracker receives them is not known here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from biomedica_kedro.benchmark.activation import READY
from biomedica_kedro.benchmark.scores import DRAW, Protocol
from biomedica_kedro.benchmark.tables import MACRO_DOMAIN, domain_averages
from biomedica_kedro.benchmark.task import Access, Task

if TYPE_CHECKING:
    import pandas as pd

SUITE = "biomedica"
_SHORT = {"accuracy": "acc", "balanced_accuracy": "bacc", "auroc": "auroc", "ece": "ece", "macro_f1": "f1"}
_PREFIX = {
    Protocol.ZERO_SHOT.value: "zs",
    Protocol.LINEAR_PROBE.value: "probe",
    Protocol.NEAREST_NEIGHBORS.value: "knn",
}
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_./ -]+")


@dataclass(frozen=True, slots=True)
class TaskMetric:
    """A metric of the model on one data set; `step` is the task's stable position in the registry."""

    name: str
    value: float
    task: str
    step: int
    dataset_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRun:
    """All that is published of one model.

    Attributes:
        model_id: name of the model.
        key: digest of every score; a run with this key is never published twice.
        tags: what was measured and how completely.
        params: the model, its weights and their recipe, prompt set, seed.
        description: Markdown: the model, and its headline scores.
        data_sets: name -> digest of the samples, of each task.
        metrics: flat keys, each once.
        task_metrics: the headline metrics by data set.
        artifacts: path -> content.
        draws: metrics of each draw of what was measured repeatedly (few-shot probes), by the draw's number.
    """

    model_id: str
    key: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    task_metrics: Sequence[TaskMetric]
    description: str = ""
    data_sets: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    draws: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


def benchmark_runs(
    scores: pd.DataFrame,
    table: pd.DataFrame,
    active: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    described: Mapping[str, Mapping[str, str]],
    prompt_set: str,
    artifacts: Mapping[str, bytes],
) -> list[BenchmarkRun]:
    """One run a model.

    Args:
        scores: rows of `scores.SCORE_ROWS`.
        table: of `tables.benchmark_table`, with the copies of `tables.without_copies`.
        active: of `activation.active_tasks`.
        tasks: the registry.
        described: facts that tell each model apart, by its id.
        prompt_set: the set whose zero-shot scores are published.
        artifacts: files that go with every run.
    """
    shown = scores[scores["prompt_set"].isin([prompt_set, ""]) & scores["value"].notna()]
    position = {name: at for at, name in enumerate(sorted(tasks))}
    averages = domain_averages(table, tasks)
    runs = []
    for model_id, rows in shown.groupby("model_id", sort=True):
        task_metrics = list(_task_metrics(rows, position))
        metrics = dict(_metrics(rows)) | dict(_averages(averages[averages["model_id"] == model_id]))
        metrics |= dict(_contamination(active, table)) | _means(rows, task_metrics)
        params = {"model": str(model_id), **described.get(str(model_id), {}), "prompt_set": prompt_set}
        params |= {"n_tasks": str(rows["task"].nunique()), "seed": str(int(rows["seed"].min()))}
        tags = {
            "bench.suite": SUITE, "bench.complete": str(_is_complete(active)).lower(),
            "bench.samples": ", ".join(sorted({"synthetic" if flag else "real" for flag in rows["synthetic"]})),
        }  # fmt: skip
        digests = dict(zip(rows["task"], rows["dataset_digest"].astype(str), strict=True))
        record = {"registry": _registry(tasks), "data_sets": digests}
        files = {**artifacts, "results.json": _as_json(scores[scores["model_id"] == model_id])}
        runs.append(
            BenchmarkRun(
                model_id=str(model_id), key=_key(tags, {**params, **digests}, metrics), tags=tags, params=params,
                metrics=metrics, task_metrics=task_metrics, data_sets=digests, draws=_draws(rows),
                description=_description(str(model_id), params, table[table["model_id"] == model_id]),
                artifacts={**files, "digests.json": orjson.dumps(record, option=orjson.OPT_INDENT_2)},
            )
        )  # fmt: skip
    return runs


def _registry(tasks: Mapping[str, Task]) -> str:
    """Digest of the task files."""
    return hashlib.sha256(orjson.dumps([task.model_dump(mode="json") for task in tasks.values()])).hexdigest()


def _description(model_id: str, params: Mapping[str, str], table: pd.DataFrame) -> str:
    """What a reader of the run sees first, in Markdown."""
    facts = "; ".join(f"{name.rpartition('.')[2]} {value}" for name, value in params.items() if "." in name)
    rows = [
        f"| {row['title']} | {row['samples']} | {row['metric']} | {row['value']:.3f} | {row['chance']:.3f} |"
        for row in table.to_dict("records")
    ]
    heading = ["| task | samples | metric | score | chance |", "|---|---|---|---|---|"]
    return "\n".join([f"**{model_id}**: {facts}", "", *heading, *rows])


def _is_complete(active: pd.DataFrame) -> bool:
    """Whether every task was measured that anybody but its authors can measure."""
    return bool(((active["status"] == READY) | (active["access"] == str(Access.UNRELEASED))).all())


def _metrics(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    for row in rows.to_dict("records"):
        metric, task, value = str(row["metric"]), str(row["task"]), float(row["value"])
        if row["protocol"] == Protocol.RETRIEVAL.value:
            length = f"/{_NOT_IN_KEY.sub('_', str(row['detail']))} words" if row["detail"] else ""
            yield f"ret/{task}/{metric}{length}", value
        elif row["protocol"] == Protocol.ROBUSTNESS.value and metric == "relative_drop":
            yield f"rob/{task}/{row['detail']}/drop", value
        elif row["protocol"] in _PREFIX and metric in _SHORT:
            key = f"{_PREFIX[str(row['protocol'])]}/{row['domain']}/{task}/{_SHORT[metric]}"
            yield key, value
            if metric == "accuracy" and row["ci_low"] == row["ci_low"] and row["ci_low"] is not None:
                yield f"{key}_lo", float(row["ci_low"])
                yield f"{key}_hi", float(row["ci_high"])
        elif row["protocol"] == Protocol.ZERO_SHOT.value and metric == "median_class_recall":
            yield f"zs/{row['domain']}/{task}/median_recall", value
        elif row["protocol"] == Protocol.FEW_SHOT.value and metric == "accuracy":
            yield f"fs/{task}/{row['detail']}/acc", value


def _draws(rows: pd.DataFrame) -> dict[int, dict[str, float]]:
    draws: dict[int, dict[str, float]] = {}
    for row in rows[rows["metric"] == DRAW].to_dict("records"):
        draws.setdefault(int(row["seed"]), {})[f"fs/{row['task']}/{row['detail']}/acc"] = float(row["value"])
    return draws


def _averages(averages: pd.DataFrame) -> Iterator[tuple[str, float]]:
    for row in averages.to_dict("records"):
        domain = str(row["domain"]).replace(MACRO_DOMAIN, "macro_domain").replace("all tasks", "all")
        key = f"{row['samples']}_{row['suite']}/{domain}/{_SHORT.get(str(row['metric']), row['metric'])}"
        yield f"avg/{_NOT_IN_KEY.sub('_', key)}", float(row["value"])


def _contamination(active: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """The share of a task's samples that the training set holds as well, of each task that was checked."""
    n_samples = dict(zip(active["task"], active["n"], strict=True)) if "n" in active else {}
    checked = table[table["n_copied"].notna()].drop_duplicates("task") if "n_copied" in table else table[:0]
    for row in checked.to_dict("records"):
        yield f"contam/{row['task']}/frac", int(row["n_copied"]) / max(1, int(n_samples[row["task"]]))


def _task_metrics(rows: pd.DataFrame, position: Mapping[str, int]) -> Iterator[TaskMetric]:
    is_whole = (rows["protocol"] == Protocol.RETRIEVAL.value) & (rows["detail"].fillna("") == "")
    wanted = rows[(rows["protocol"] == Protocol.ZERO_SHOT.value) | is_whole]
    for row in wanted.to_dict("records"):
        name = _SHORT.get(str(row["metric"]), str(row["metric"]) if "_R_at_" in str(row["metric"]) else "")
        task = str(row["task"])
        if name:
            yield TaskMetric(name, float(row["value"]), task, position[task], str(row["dataset_digest"]))


def _means(rows: pd.DataFrame, task_metrics: Sequence[TaskMetric]) -> dict[str, float]:
    """Without these, a tracker that keeps one value a key would show the last task's as the run's."""
    real = set(rows.loc[~rows["synthetic"].astype(bool), "task"])
    values: dict[str, list[float]] = {}
    for entry in task_metrics:
        if not real or entry.task in real:
            values.setdefault(entry.name, []).append(entry.value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _key(tags: Mapping[str, str], params: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    return hashlib.sha256(orjson.dumps([tags, params, metrics], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _as_json(scores: pd.DataFrame) -> bytes:
    return orjson.dumps(orjson.loads(scores.to_json(orient="records")), option=orjson.OPT_INDENT_2)
