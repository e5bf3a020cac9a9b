"""Tables from score rows: one line a task and model, averages by domain and over all, and what is missing.

Averages are always computed from task rows, never copied; each says how many of the suite's tasks it rests on. Scores
on synthetic samples have averages of their own and are never mixed with real ones.
Source: BIOMEDICA table 5, whose averages of two models do not equal the mean of their rows (CoCa: 47.29 for 51.61).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from biomedica_kedro.benchmark.scores import ROW_OPTIONS, Protocol
from biomedica_kedro.benchmark.task import PAPER_SUITE, Access, Kind, Task

if TYPE_CHECKING:
    import pandas as pd

ROW_HEADLINE = "accuracy"  # of samples that bring their own options, whatever the kind of the task
MEASURED, PUBLISHED = "measured", "published"
HEADLINE = {Kind.RETRIEVAL: "i2t_R_at_1", Kind.MULTILABEL: "balanced_accuracy"}
RETRIEVAL_CHANCE = "i2t_chance_R_at_1"
REAL, SYNTHETIC = "real", "synthetic"
ALL_TASKS, MACRO_DOMAIN, OTHER_TASKS = "all tasks", "mean of domains", "other"


def headline_metric(task: Task) -> str:
    """The metric a task is known by: accuracy, as in the paper, or recall at 1 for retrieval."""
    return HEADLINE.get(task.kind, "accuracy")


def benchmark_table(scores: pd.DataFrame, tasks: Mapping[str, Task], prompt_set: str) -> pd.DataFrame:
    """Headline score of every model on every task, best known first to read.

    Args:
        scores: rows of `scores.SCORE_ROWS`.
        tasks: the registry.
        prompt_set: the set whose zero-shot scores are shown.
    Returns:
        Columns model_id, task, title, domain, metric, value, ci_low, ci_high, n, chance, samples (real | synthetic),
        protocol, prompt_set, by_wording (accuracy of each wording of a row's question, and of other ways of asking),
        counts_for, wording, note; sorted by domain, task, model.
    """
    known = scores[scores["task"].isin(list(tasks))]
    is_asked = (known["protocol"] == Protocol.ZERO_SHOT.value) & (known["prompt_set"] == "")
    wanted = known["task"].map({name: headline_metric(task) for name, task in tasks.items()})
    is_headline = known["metric"] == wanted.mask(is_asked, ROW_HEADLINE)
    is_shown = (known["protocol"] == Protocol.RETRIEVAL.value) | (
        (known["protocol"] == Protocol.ZERO_SHOT.value) & known["prompt_set"].isin([prompt_set, ""])
    )
    table = known[is_headline & is_shown & ((known["protocol"] != Protocol.RETRIEVAL.value) | _is_whole(known))].copy()
    of_task = table["task"].map
    table["title"] = of_task({name: task.title for name, task in tasks.items()})
    is_chance = (is_asked & (known["metric"] == "chance")) | (known["metric"] == RETRIEVAL_CHANCE)
    table["chance"] = _chance(table, known[is_chance], tasks)
    is_wording = (known["metric"] == ROW_HEADLINE) & (known["protocol"] == Protocol.ZERO_SHOT.value) & ~is_asked
    table["by_wording"] = _by_wording(table, known[is_wording])
    table["protocol"] = _protocols(table)
    table["samples"] = table["synthetic"].map({True: SYNTHETIC, False: REAL})
    table["counts_for"] = of_task({name: ", ".join(task.counts_for) for name, task in tasks.items()})
    table["wording"] = of_task({name: task.wording for name, task in tasks.items()})
    table["note"] = of_task({name: _note(task) for name, task in tasks.items()})
    columns = [
        "model_id", "task", "title", "domain", "metric", "value", "ci_low", "ci_high", "n", "chance", "samples",
        "protocol", "prompt_set", "by_wording", "counts_for", "wording", "note", "dataset_digest",
    ]  # fmt: skip
    return table[columns].sort_values(["domain", "task", "model_id"], ignore_index=True)


def beside_published(table: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Measured and published scores of the tasks that have both, or of all published ones while nothing is measured.

    Scores stand together only to be read: where protocols differ they are not the same quantity.

    Args:
        table: of `benchmark_table`; scores on synthetic samples are left out.
        published: columns model, task, metric, value, protocol, source, known_error.
    Returns:
        Columns task, protocol, origin (measured | published), model, metric, value, source, known_error; sorted.
    """
    import pandas as pd

    own = table[(table["samples"] == REAL) & table["task"].isin(published["task"])].rename(
        columns={"model_id": "model"}
    )
    columns = ["task", "protocol", "origin", "model", "metric", "value", "source", "known_error"]
    measured = own.assign(origin=MEASURED, source="this run", known_error="")[columns]
    shown = published[published["task"].isin(own["task"])] if len(own) else published
    others = shown.assign(origin=PUBLISHED)[columns]
    both = pd.concat([part for part in (measured, others) if len(part)] or [others], ignore_index=True)
    return both.sort_values(["task", "protocol", "origin", "model"], ignore_index=True)


def published_averages(published: pd.DataFrame) -> pd.DataFrame:
    """Mean of each model's published task scores; protocols and sources apart, never across them.

    Args:
        published: see `beside_published`; rows that are averages themselves are left out.
    Returns:
        Columns model, protocol, source, metric, value, n_tasks.
    """
    tasks = published[~published["task"].str.contains("average")]
    means = tasks.groupby(["model", "protocol", "source", "metric"], sort=True)["value"].agg(["mean", "size"])
    return means.reset_index().rename(columns={"mean": "value", "size": "n_tasks"})


def without_copies(
    table: pd.DataFrame, predictions: pd.DataFrame, copies: pd.DataFrame, checked: Collection[str]
) -> pd.DataFrame:
    """The table with two more columns: copies found in the training set, and the accuracy without them.

    Args:
        table: of `benchmark_table`.
        predictions: rows of `classification.PREDICTIONS` under the shown prompt set.
        copies: rows of `contamination.CONTAMINATION`.
        checked: tasks that copies were looked for in; of the others their number is not known.
    """
    import pandas as pd

    copied = pd.MultiIndex.from_frame(copies[["task", "sample_id"]])
    clean = predictions[~pd.MultiIndex.from_frame(predictions[["task", "sample_id"]]).isin(copied)]
    accuracy = clean.groupby(["model_id", "task"])["correct"].mean()
    keys = list(zip(table["model_id"], table["task"], strict=True))
    n_copied = copies.groupby("task").size().reindex(list(checked), fill_value=0)
    return table.assign(
        n_copied=table["task"].map(n_copied).astype("Int64"),
        value_without_copies=[float(accuracy.get(key, float("nan"))) for key in keys],
    )


def domain_averages(table: pd.DataFrame, tasks: Mapping[str, Task], suite: str = PAPER_SUITE) -> pd.DataFrame:
    """Averages of a model per domain, over tasks, and over domains: of one metric, and of real or synthetic samples.

    Args:
        table: of `benchmark_table`.
        tasks: the registry, which says what the suite holds.
        suite: the suite that counts; tasks outside it have averages under "other".
    Returns:
        Columns model_id, samples, suite, metric, domain, value, n_tasks, n_suite (tasks of the suite that are known by
        the metric), missing.
    """
    import pandas as pd

    columns = ["model_id", "samples", "suite", "metric", "domain", "value", "n_tasks", "n_suite", "missing"]
    counted = table[table["task"].isin([name for name, task in tasks.items() if not task.excluded_from_averages])]
    known_by = {name: headline_metric(task) for name, task in tasks.items()}
    known_by |= dict(zip(counted["task"], counted["metric"], strict=True))
    rows: list[dict[str, object]] = []
    for (model_id, samples, metric), part in counted.groupby(["model_id", "samples", "metric"], sort=True):
        for name in (suite, OTHER_TASKS):
            members = {
                task.id: task for task in tasks.values()
                if _belongs(task, name, suite) and known_by[task.id] == metric
            }  # fmt: skip
            own = part[part["task"].isin(list(members))]
            if len(own):
                head = {"model_id": model_id, "samples": samples, "suite": name, "metric": metric}
                rows += [{**head, **line} for line in _averages(own, members, is_closed=name == suite)]
    return pd.DataFrame(rows, columns=columns)


def recall_by_class(scores: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Recall of every class, with intervals, under the prompt set that the table shows of each task."""
    shown = scores[
        (scores["metric"] == "recall")
        & (scores["protocol"] == Protocol.ZERO_SHOT.value)
        & (scores["prompt_set"] == scores["task"].map(dict(zip(table["task"], table["prompt_set"], strict=True))))
    ]
    columns = ["model_id", "task", "detail", "value", "ci_low", "ci_high", "n", "synthetic"]
    return shown[columns].rename(columns={"detail": "class"}).reset_index(drop=True)


def probe_table(scores: pd.DataFrame) -> pd.DataFrame:
    """What labels add to a model's image vectors: balanced accuracy of the probes, accuracy of the few-shot ones.

    Returns:
        Columns model_id, task, protocol, metric, detail, value, ci_low, ci_high, n, samples.
    """
    protocols = [Protocol.LINEAR_PROBE.value, Protocol.NEAREST_NEIGHBORS.value, Protocol.FEW_SHOT.value]
    is_few_shot = (scores["protocol"] == Protocol.FEW_SHOT.value) & (scores["metric"] == "accuracy")
    shown = scores[
        scores["protocol"].isin(protocols) & ((scores["metric"] == "balanced_accuracy") | is_few_shot)
    ].copy()
    shown["samples"] = shown["synthetic"].map({True: SYNTHETIC, False: REAL})
    shown["shots"] = shown["detail"].astype("string").str.extract(r"k(\d+)", expand=False).astype("Float64")
    columns = ["model_id", "task", "protocol", "metric", "detail", "value", "ci_low", "ci_high", "n", "samples"]
    return shown.sort_values(["task", "protocol", "shots", "model_id"], ignore_index=True)[columns]


def summary(table: pd.DataFrame, averages: pd.DataFrame, tasks: Mapping[str, Task]) -> dict[str, dict[str, float]]:
    """The few numbers a run ends with, those of the leaderboard: the embedded tasks, and the averages over all tasks.

    Returns:
        By what was measured (legal in MLflow: "synthetic embedded_figure_type accuracy"), the value of each model.
    """
    embedded = [task.id for task in tasks.values() if task.source.access is Access.EMBEDDED]
    numbers: dict[str, dict[str, float]] = {}
    for row in table[table["task"].isin(embedded)].to_dict("records"):
        name = f"{row['samples']} {row['task']} {row['metric']}"
        numbers.setdefault(name, {})[str(row["model_id"])] = float(row["value"])
    for row in averages[averages["domain"] == ALL_TASKS].to_dict("records"):
        name = f"{row['samples']} {row['suite']} mean {row['metric']}, {row['n_tasks']} of {row['n_suite']} tasks"
        numbers.setdefault(name, {})[str(row["model_id"])] = float(row["value"])
    return numbers


def robustness_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Relative drop of accuracy under each corruption, means over five severities, and of all together.

    Returns:
        Columns model_id, task, corruption, value, ci_low, ci_high, n, samples.
    """
    shown = scores[(scores["protocol"] == Protocol.ROBUSTNESS.value) & (scores["metric"] == "relative_drop")]
    shown = shown.rename(columns={"detail": "corruption"})
    shown = shown.assign(samples=shown["synthetic"].map({True: SYNTHETIC, False: REAL}))
    columns = ["model_id", "task", "corruption", "value", "ci_low", "ci_high", "n", "samples"]
    return shown.sort_values(["task", "corruption", "model_id"], ignore_index=True)[columns]


def lengths_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Retrieval at the first rank by the length of captions.

    Returns:
        Columns model_id, task, metric, words, value, ci_low, ci_high, n, samples.
    """
    shown = scores[(scores["protocol"] == Protocol.RETRIEVAL.value) & (scores["detail"] != "")]
    shown = shown.rename(columns={"detail": "words"})
    shown = shown.assign(samples=shown["synthetic"].map({True: SYNTHETIC, False: REAL}))
    columns = ["model_id", "task", "metric", "words", "value", "ci_low", "ci_high", "n", "samples"]
    return shown[columns].reset_index(drop=True)


def _chance(table: pd.DataFrame, asked: pd.DataFrame, tasks: Mapping[str, Task]) -> list[float]:
    """What guessing gives: by the number of classes, by the options that rows bring, by the number of captions."""
    of_rows = {(row["model_id"], row["task"]): float(row["value"]) for row in asked.to_dict("records")}
    of_task = {name: float("nan") if task.chance is None else task.chance for name, task in tasks.items()}
    keys = zip(table["model_id"], table["task"], strict=True)
    return [of_rows.get((model_id, task), of_task[task]) for model_id, task in keys]


def averages_by_model(averages: pd.DataFrame) -> pd.DataFrame:
    """A row an average, a column a model; a mean over fewer tasks than another model's says over how many.

    Args:
        averages: of `domain_averages`.
    Returns:
        Columns samples, suite, metric, domain, tasks ("3 of 4"), a column a model, missing.
    """
    import pandas as pd

    what = ["samples", "suite", "metric", "domain"]
    models = sorted(averages["model_id"].unique())
    rows = []
    for of, part in averages.groupby(what, sort=False):
        n_tasks, first = part["n_tasks"].max(), part.sort_values("n_tasks").iloc[-1]
        values = {
            row["model_id"]: f"{row['value']:.3f}" + (f" (over {row['n_tasks']})" if row["n_tasks"] < n_tasks else "")
            for row in part.to_dict("records")
        }
        tasks = f"{n_tasks}" if pd.isna(first["n_suite"]) else f"{n_tasks} of {first['n_suite']}"
        told = dict(zip(what, of, strict=True)) | {"tasks": tasks}
        rows.append({**told, **{model: values.get(model, "–") for model in models}, "missing": first["missing"]})
    return pd.DataFrame(rows, columns=[*what, "tasks", *models, "missing"])


def _by_wording(table: pd.DataFrame, wordings: pd.DataFrame) -> list[str]:
    """Such as "captions_0 0.512, captions_1 0.498" for rows that bring their options; empty for the others."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in wordings.sort_values("prompt_set").to_dict("records"):
        words = f"{row['prompt_set']} {float(row['value']):.3f}"
        found.setdefault((str(row["model_id"]), str(row["task"])), []).append(words)
    keys = zip(table["model_id"], table["task"], table["prompt_set"], table["protocol"], strict=True)
    return [
        ", ".join(found.get((model_id, task), [])) if (prompt_set, protocol) == ("", Protocol.ZERO_SHOT.value) else ""
        for model_id, task, prompt_set, protocol in keys
    ]


def _protocols(table: pd.DataFrame) -> list[str]:
    """How each score was asked."""
    return [
        "image-caption pairs" if protocol == Protocol.RETRIEVAL.value
        else ROW_OPTIONS if prompt_set == "" else f"class names in {prompt_set} prompts"
        for protocol, prompt_set in zip(table["protocol"], table["prompt_set"], strict=True)
    ]  # fmt: skip


def _is_whole(scores: pd.DataFrame) -> pd.Series[bool]:
    """Of retrieval: over all captions, not those of one length."""
    return scores["detail"].fillna("") == ""


def _belongs(task: Task, name: str, suite: str) -> bool:
    return (suite in task.counts_for) == (name == suite)


def _averages(part: pd.DataFrame, members: Mapping[str, Task], *, is_closed: bool) -> list[dict[str, object]]:
    """Lines of one model; a closed suite knows what is missing, an open one does not."""
    by_domain = part.groupby("domain", sort=True)["value"]
    lines = [
        _line(str(domain), float(values.mean()), part[part["domain"] == domain]["task"].tolist(), members, is_closed)
        for domain, values in by_domain
    ]
    evaluated = part["task"].tolist()
    lines.append(_line(MACRO_DOMAIN, float(by_domain.mean().mean()), evaluated, members, is_closed))
    lines.append(_line(ALL_TASKS, float(part["value"].mean()), evaluated, members, is_closed))
    return lines


def _line(
    domain: str, value: float, evaluated: Sequence[str], members: Mapping[str, Task], is_closed: bool
) -> dict[str, object]:
    wanted = [name for name, task in members.items() if domain in (task.domain, ALL_TASKS, MACRO_DOMAIN)]
    missing = sorted(set(wanted) - set(evaluated)) if is_closed else []
    n_suite = len(wanted) if is_closed else len(evaluated)
    return {
        "domain": domain, "value": value, "n_tasks": len(evaluated), "n_suite": n_suite, "missing": ", ".join(missing),
    }  # fmt: skip


def _note(task: Task) -> str:
    parts = ["synthetic samples"] if task.synthetic else []
    return "; ".join([*parts, *filter(None, [task.seen_in_training, task.excluded_from_averages])])
