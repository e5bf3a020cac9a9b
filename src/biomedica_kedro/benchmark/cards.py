"""What goes into papers and repositories: a card a task in Markdown, and the table of scores in Markdown and LaTeX.

Averages are those of `tables.domain_averages`, computed from the rows. Scores on synthetic samples have a part of their
own and are called so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from biomedica_kedro.benchmark.activation import ready_tasks
from biomedica_kedro.benchmark.tables import ALL_TASKS, MACRO_DOMAIN, REAL, SYNTHETIC
from biomedica_kedro.benchmark.task import PAPER_SUITE, PAPER_TASKS, Task

if TYPE_CHECKING:
    import pandas as pd

Row: TypeAlias = Mapping[Hashable, object]
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def task_cards(
    tasks: Mapping[str, Task], active: pd.DataFrame, table: pd.DataFrame, recalls: pd.DataFrame
) -> dict[str, str]:
    """A card of each measured task, and an index of them under "README".

    Args:
        tasks: the registry.
        active: of `activation.active_tasks`.
        table: of `tables.benchmark_table`.
        recalls: of `tables.recall_by_class`.
    """
    facts = active.set_index("task", drop=False).to_dict("index")
    cards = {name: task_card(tasks[name], facts[name], table, recalls) for name in ready_tasks(active)}
    links = [f"- [{tasks[name].title}]({name}.md)" for name in cards]
    index = [f"# Task cards\n\n{len(cards)} of {len(facts)} tasks were measured.\n", *links]
    return {"README": "\n".join(index), **cards}


def task_card(task: Task, active: Row, table: pd.DataFrame, recalls: pd.DataFrame) -> str:
    """What a task is, where its data come from, what is wrong with it, and how the models do on it.

    Args:
        task: the task.
        active: its row of `activation.active_tasks`.
        table: of `tables.benchmark_table`.
        recalls: of `tables.recall_by_class`.
    Returns:
        Markdown.
    """
    samples = f"{active['n']} ({'synthetic' if active['synthetic'] else 'real'})"
    if task.n_expected is not None:
        samples += f", {task.n_expected:,} in the published test split"
    facts = {
        "id": f"`{task.id}`", "domain": task.domain, "modality": task.modality, "kind": str(task.kind),
        "samples": samples, "chance": "" if task.chance is None else f"{task.chance:.3f}",
        "counts for": ", ".join(task.counts_for), "class names": task.wording, "source": task.source.url,
        "license": task.source.license, "access": str(task.source.access), "citation": task.source.citation,
        "shares subjects with": ", ".join(task.subject_overlaps), "seen in training": task.seen_in_training,
        "left out of averages": task.excluded_from_averages, "content digest": f"`{active['digest']}`",
    }  # fmt: skip
    parts = [f"# {task.title}", _markdown(["", ""], [[name, text] for name, text in facts.items() if text])]
    if task.notes or task.known_issues:
        parts += ["## Known issues", "\n".join(f"- {line}" for line in (*task.known_issues, task.notes) if line)]
    own = table[table["task"] == task.id]
    if len(own):
        rows = [
            [str(row["model_id"]), str(row["metric"]), _score(row), str(row["n"]), _asked(row)]
            for row in own.to_dict("records")
        ]
        parts += ["## Scores", _markdown(["model", "metric", "value [95 % interval]", "n", "asked in"], rows)]
    parts += [_classes(task, recalls[recalls["task"] == task.id])] if task.classes else []
    return "\n\n".join(parts) + "\n"


def scores_markdown(table: pd.DataFrame, averages: pd.DataFrame) -> str:
    """One table in Markdown: a row a task, a column a model, a mean a domain; the best value of a row is bold.

    Args:
        table: of `tables.benchmark_table`.
        averages: of `tables.domain_averages`.
    """
    heading, rows = _lines(table, averages, str, lambda text: f"**{text}**")
    return f"{_coverage(table)}\n\n{_markdown(heading, rows)}\n"


def scores_latex(table: pd.DataFrame, averages: pd.DataFrame) -> str:
    """The same for LaTeX with booktabs.

    Args:
        table: of `tables.benchmark_table`.
        averages: of `tables.domain_averages`.
    """
    heading, rows = _lines(table, averages, _latex, lambda text: rf"\textbf{{{text}}}")
    body = [" & ".join(row) + r" \\" for row in rows]
    lines = [
        f"% {_coverage(table)} Value and 95 % bootstrap interval.",
        rf"\begin{{tabular}}{{llll{'r' * (len(heading) - 4)}}}", r"\toprule",
        " & ".join(map(_latex, heading)) + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _coverage(table: pd.DataFrame) -> str:
    """How much of the paper's suite was measured."""
    counts = table[table["counts_for"].str.contains(PAPER_SUITE)].groupby("samples")["task"].nunique()
    real, drawn = (int(counts.get(kind, 0)) for kind in (REAL, SYNTHETIC))
    told = f"{real} of {PAPER_TASKS} tasks of the paper's suite were measured on real samples"
    return f"{told}, {drawn} on synthetic ones." if drawn else f"{told}."


def _lines(
    table: pd.DataFrame, averages: pd.DataFrame, escaped: Callable[[str], str], bold: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: of real, then of synthetic samples the tasks of each domain, its means, those over all."""
    models = sorted(table["model_id"].unique())
    rows: list[list[str]] = []
    for kind, of_kind in table.groupby("samples", sort=True):
        means = averages[averages["samples"] == kind]
        for domain, of_domain in of_kind.groupby("domain", sort=True):
            for _, of_task in of_domain.groupby("task", sort=True):
                first = of_task.iloc[0]
                cells = [escaped(str(first[name])) for name in ("title", "domain", "metric", "samples")]
                rows.append([*cells, *_cells(_by_model(of_task), models, bold)])
            rows += _means(means[means["domain"] == domain], models, escaped, bold)
        rows += _means(means[means["domain"].isin([MACRO_DOMAIN, ALL_TASKS])], models, escaped, bold)
    return ["task", "domain", "metric", "samples", *models], rows


def _means(
    means: pd.DataFrame, models: Sequence[str], escaped: Callable[[str], str], bold: Callable[[str], str]
) -> list[list[str]]:
    rows = []
    for (suite, domain, metric), of_mean in means.groupby(["suite", "domain", "metric"], sort=True):
        n_suite, n_tasks = int(of_mean["n_suite"].max()), int(of_mean["n_tasks"].max())
        if n_suite == 1 or (domain == MACRO_DOMAIN and n_tasks == 1):
            continue  # the task's own row says it
        by_model = _by_model(of_mean)
        counts = sorted({f"{row['n_tasks']} of {row['n_suite']}" for row in by_model.values()})
        name = f"{MACRO_DOMAIN if domain == MACRO_DOMAIN else 'mean'}, {suite}: {', '.join(counts)} tasks"
        over = "" if domain in (MACRO_DOMAIN, ALL_TASKS) else str(domain)
        cells = [name, over, str(metric), str(of_mean["samples"].iloc[0])]
        rows.append([*map(escaped, cells), *_cells(by_model, models, bold)])
    return rows


def _by_model(rows: pd.DataFrame) -> dict[str, Row]:
    return {str(row["model_id"]): row for row in rows.to_dict("records")}


def _cells(by_model: Mapping[str, Row], models: Sequence[str], bold: Callable[[str], str]) -> list[str]:
    best = max(float(str(row["value"])) for row in by_model.values())
    cells = []
    for model in models:
        row = by_model.get(model)
        text = "–" if row is None else _score(row)
        cells.append(bold(text) if row is not None and len(models) > 1 and row["value"] == best else text)
    return cells


def _classes(task: Task, recalls: pd.DataFrame) -> str:
    models = sorted(recalls["model_id"].unique())
    recall = {(row["class"], row["model_id"]): row for row in recalls.to_dict("records")}
    rows = []
    for cls in task.classes:
        known = [recall.get((cls.name, model)) for model in models]
        rows.append([cls.name, cls.words, *("–" if row is None else _score(row) for row in known)])
    return "## Classes\n\n" + _markdown(["class", "in prompts", *(f"recall, {model}" for model in models)], rows)


def _asked(row: Row) -> str:
    """How the score was asked, and the accuracy of each wording where there are several."""
    wordings = str(row.get("by_wording") or "")
    return str(row.get("protocol") or "") + (f": {wordings}" if wordings else "")


def _score(row: Row) -> str:
    value, low, high = (row.get(name) for name in ("value", "ci_low", "ci_high"))
    has_interval = low is not None and low == low  # NaN where there is none
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if has_interval else "")


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
