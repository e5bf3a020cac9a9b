"""What goes into papers and repositories: a card a task in Markdown, and the table of scores in Markdown and LaTeX.

Averages are those of `tables.domain_averages`, computed from the rows. Scores on synthetic samples have a part of their
own and are called so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from biomedica_kedro.benchmark.activation import ready_tasks
from biomedica_kedro.benchmark.tables import ALL_TASKS, MACRO_DOMAIN
from biomedica_kedro.benchmark.task import Task

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
    """Tasks by models in Markdown; the best value of a row is bold.

    Args:
        table: of `tables.benchmark_table`.
        averages: of `tables.domain_averages`.
    """
    parts = []
    for kind, heading, rows in _parts(table, averages, str, lambda text: f"**{text}**"):
        parts += [f"## Scores on {kind} samples", _markdown(heading, rows)]
    return "\n\n".join(parts) + "\n"


def scores_latex(table: pd.DataFrame, averages: pd.DataFrame) -> str:
    """The same for LaTeX with booktabs.

    Args:
        table: of `tables.benchmark_table`.
        averages: of `tables.domain_averages`.
    """
    parts = []
    for kind, heading, rows in _parts(table, averages, _latex, lambda text: rf"\textbf{{{text}}}"):
        body = [" & ".join(row) + r" \\" for row in rows]
        parts.append(
            "\n".join(
                [
                    f"% scores on {kind} samples; value and 95 % bootstrap interval",
                    rf"\begin{{tabular}}{{ll{'r' * (len(heading) - 2)}}}", r"\toprule",
                    " & ".join(map(_latex, heading)) + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}",
                ]
            )
        )  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _parts(
    table: pd.DataFrame, averages: pd.DataFrame, escaped: Callable[[str], str], bold: Callable[[str], str]
) -> list[tuple[str, list[str], list[list[str]]]]:
    """For real and for synthetic samples: heading and rows, tasks first, then their averages."""
    parts = []
    for kind, of_kind in table.groupby("samples", sort=True):
        models = sorted(of_kind["model_id"].unique())
        rows = []
        for _, of_task in of_kind.groupby(["domain", "task"], sort=True):
            first = of_task.iloc[0]
            by_model = {str(row["model_id"]): row for row in of_task.to_dict("records")}
            cells = [escaped(f"{first['title']} ({first['metric']})"), escaped(str(first["domain"]))]
            rows.append([*cells, *_cells(by_model, models, bold)])
        means = averages[(averages["samples"] == kind) & averages["domain"].isin([MACRO_DOMAIN, ALL_TASKS])]
        for (suite, domain), of_mean in means.groupby(["suite", "domain"], sort=True):
            by_model = {str(row["model_id"]): row for row in of_mean.to_dict("records")}
            counts = sorted({f"{row['n_tasks']} of {row['n_suite']}" for row in by_model.values()})
            name = f"{domain if domain != ALL_TASKS else 'mean'}, {suite}: {', '.join(counts)} tasks"
            rows.append([escaped(name), "", *_cells(by_model, models, bold)])
        parts.append((str(kind), ["task", "domain", *models], rows))
    return parts


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
