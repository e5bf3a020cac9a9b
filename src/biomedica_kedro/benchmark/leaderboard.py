"""The leaderboard: a figure for kedro-viz and one self-contained HTML page (no script from the network).

The page holds every score with its interval, the averages with what they rest on, recall by class, the paired
comparisons and the tasks without data. Synthetic samples are called so wherever their scores stand.
"""

from __future__ import annotations

import html
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from biomedica_kedro.benchmark.tables import averages_by_model, beside_published, published_averages

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_SYNTHETIC = "synthetic samples; class names were seen in training"


def leaderboard_figure(table: pd.DataFrame) -> Figure:
    """Points with intervals, a row a task, a color a model, chance as a tick.

    Args:
        table: of `tables.benchmark_table`.
    """
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    labels = [_task_label(row) for row in table.to_dict("records")]
    for model_id in sorted(table["model_id"].unique()):
        of_model = table[table["model_id"] == model_id]
        names = [label for label, model in zip(labels, table["model_id"], strict=True) if model == model_id]
        bars = {
            "type": "data", "symmetric": False, "array": of_model["ci_high"] - of_model["value"],
            "arrayminus": of_model["value"] - of_model["ci_low"],
        }  # fmt: skip
        figure.add_trace(
            Scatter(x=of_model["value"], y=names, error_x=bars, mode="markers", name=model_id, marker={"size": 10})
        )
    chance = dict(zip(labels, table["chance"], strict=True))
    figure.add_trace(
        Scatter(
            x=list(chance.values()), y=list(chance), mode="markers", name="chance",
            marker={"symbol": "line-ns-open", "size": 14, "color": "#888"},
        )
    )  # fmt: skip
    figure.update_layout(
        title="Benchmark: headline score and 95 % interval",
        xaxis={"title": "score", "range": [0, 1.02]},
        yaxis={"automargin": True, "autorange": "reversed"},
        height=240 + 34 * len(chance),
        template="plotly_white",
    )
    return figure


def leaderboard_page(table: pd.DataFrame, others: Mapping[str, pd.DataFrame], left_out: Mapping[str, str]) -> str:
    """The page as a string of HTML.

    Args:
        table: of `tables.benchmark_table`.
        others: "averages" of `tables.domain_averages`, "recalls" of `tables.recall_by_class`, "probes" of
            `tables.probe_table`, "robustness" of `tables.robustness_table`, "lengths" of `tables.lengths_table`,
            "comparison" of `comparison.compare_predictions`, "active" of `activation.active_tasks`, and "published"
            scores from the literature, with their source and known errors.
        left_out: of each model that could not be had, the reason.
    """
    active = others["active"]
    missing = active[active["status"] == "missing"][["task", "domain", "access", "license", "url"]]
    wide = others["recalls"].pivot_table(index=["task", "class"], columns="model_id", values="value", sort=False)
    sections = [
        ("Scores", _explanation(table), _scores_table(table)),
        ("Averages", "Computed from the rows above, never copied; of one metric each.",
         _plain(averages_by_model(others["averages"]))),
        ("Profile by domain", "Mean accuracy of each domain.", _radar(others["averages"])),
        ("Recall by class", "Zero-shot, by the prompts shown above.", _plain(wide.reset_index())),
        ("Probes", "Fitted on labels: folds never share a patient, slide or article.", _plain(others["probes"])),
        ("Robustness", "Share of the accuracy that corruptions cost, over five severities, on the same images.",
         _plain(others["robustness"])),
        ("Retrieval by length of captions", "Right at the first rank among all candidates, by words of the caption.",
         _plain(others["lengths"])),
        ("Paired comparisons", "Difference in accuracy on the same samples; p corrected by Holm.",
         _plain(others["comparison"])),
        ("Models that could not be had", "They are left out.", _pairs(left_out)),
        ("Tasks without data", f"{len(missing)} tasks.", _plain(missing)),
        ("Beside published scores", "Published ones are from the literature; only scores of one protocol are the same "
         "quantity.", _plain(beside_published(table, others["published"]))),
        ("Averages of published scores", "Protocols and sources are never averaged together.",
         _plain(published_averages(others["published"]))),
    ]  # fmt: skip
    body = "\n".join(
        f'<section><h2>{title}</h2><p class="note">{html.escape(note)}</p>{content}</section>'
        for title, note, content in sections
        if content
    )
    template = (resources.files("biomedica_kedro.benchmark") / "leaderboard.html").read_text(encoding="utf-8")
    return template.replace("<!-- sections -->", body)


def _explanation(table: pd.DataFrame) -> str:
    real, drawn = (int((table["samples"] == kind).sum()) for kind in ("real", "synthetic"))
    return (
        f"{real} scores on real samples, {drawn} on synthetic ones. Beside each score and on its bar: the 95 % "
        "bootstrap interval; dashes: chance; bold: the best model of a task. Click a heading to sort."
    )


def _scores_table(table: pd.DataFrame) -> str:
    """A row a task, a column a model: every score with its interval and chance; the best one is marked."""
    models = sorted(table["model_id"].unique())
    headings = ["task", "domain", "metric", "chance", *models, "n", "samples", "protocol"]
    rows = [
        _task_row({str(row["model_id"]): row for row in of_task.to_dict("records")}, models)
        for _, of_task in table.groupby(["domain", "task"], sort=True)
    ]
    heading = "".join(f"<th>{html.escape(name)}</th>" for name in headings)
    return (
        f'<table class="sortable" id="scores"><thead><tr>{heading}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _task_row(by_model: Mapping[str, Mapping[Hashable, object]], models: Sequence[str]) -> str:
    first = next(iter(by_model.values()))
    best = max(_number(row["value"]) for row in by_model.values()) if len(models) > 1 else None
    chance = _number(first["chance"])
    label = f'<span class="badge" title="{_SYNTHETIC}">synthetic</span>' if first["samples"] == "synthetic" else "real"
    cells = [
        f'<td title="{html.escape(str(first["note"]))}">{html.escape(str(first["title"]))}</td>',
        f"<td>{html.escape(str(first['domain']))}</td>", f"<td>{html.escape(str(first['metric']))}</td>",
        f"<td>{'–' if chance != chance else f'{chance:.3f}'}</td>",
        *(_score_cell(by_model.get(model), best) for model in models),
        f"<td>{html.escape(str(first['n']))}</td>", f"<td>{label}</td>",
        f"<td>{html.escape(str(first['protocol']))}</td>",
    ]  # fmt: skip
    return f"<tr>{''.join(cells)}</tr>"


def _score_cell(row: Mapping[Hashable, object] | None, best: float | None) -> str:
    if row is None:
        return "<td>–</td>"
    value, low, high, chance = (_number(row[name]) for name in ("value", "ci_low", "ci_high", "chance"))
    mark = "b" if value == best else "span"
    interval = "" if low != low else f" <small>{low:.3f} – {high:.3f}</small>"
    wordings = "".join(f"<br><small>{html.escape(each)}</small>" for each in str(row["by_wording"]).split(", ") if each)
    return f"<td><{mark}>{value:.3f}</{mark}>{interval}<br>{_bar(value, low, high, chance)}{wordings}</td>"


def _bar(value: float, low: float, high: float, chance: float) -> str:
    """A bar of 160 x 14 pixels: score, interval, chance."""
    parts = [f'<rect width="{160 * value:.1f}" height="14" class="score"/>']
    if low == low:
        parts.append(f'<path d="M{160 * low:.1f} 7H{160 * high:.1f}" class="interval"/>')
    if chance == chance:
        parts.append(f'<path d="M{160 * chance:.1f} 0V14" class="chance"/>')
    return f'<svg width="160" height="14" role="img" aria-label="{value:.3f}">{"".join(parts)}</svg>'


def _radar(averages: pd.DataFrame) -> str:
    """Polygon of domain means, one a model; needs three domains."""
    import math

    is_domain = ~averages["domain"].isin(["all tasks", "mean of domains"])
    lines = averages[(averages["suite"] != "other") & is_domain & (averages["metric"] == "accuracy")]
    domains = sorted(lines["domain"].unique())
    if len(domains) < 3:
        return ""
    spokes = [
        (math.sin(2 * math.pi * at / len(domains)), -math.cos(2 * math.pi * at / len(domains)))
        for at in range(len(domains))
    ]
    drawn = [f'<path d="M0 0L{150 * x:.0f} {150 * y:.0f}" class="chance"/>' for x, y in spokes]
    drawn += [
        f'<text x="{165 * x:.0f}" y="{165 * y:.0f}" text-anchor="middle">{html.escape(name)}</text>'
        for name, (x, y) in zip(domains, spokes, strict=True)
    ]
    legend = []
    for at, ((model, samples), part) in enumerate(lines.groupby(["model_id", "samples"], sort=True)):
        values = part.set_index("domain")["value"].reindex(domains).fillna(0.0)
        points = " ".join(f"{150 * v * x:.0f},{150 * v * y:.0f}" for v, (x, y) in zip(values, spokes, strict=True))
        drawn.append(f'<polygon points="{points}" class="model{at % 6}"/>')
        legend.append(f'<li class="model{at % 6}">{html.escape(f"{model} ({samples})")}</li>')
    svg = f'<svg viewBox="-260 -190 520 380" width="640" role="img">{"".join(drawn)}</svg>'
    return f'{svg}<ul class="legend">{"".join(legend)}</ul>'


def _pairs(reasons: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in reasons.items()
    )
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def _plain(frame: pd.DataFrame) -> str:
    if frame.empty:
        return ""
    headings = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    names = [str(name) for name in frame.columns]
    rows = "".join(f"<tr>{_cells(names, row)}</tr>" for row in frame.itertuples(index=False, name=None))
    return f'<table class="sortable"><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>'


def _cells(names: Sequence[str], values: Sequence[object]) -> str:
    texts = (
        f"{value:.{4 if name.startswith('p_') else 3}f}" if isinstance(value, float) else str(value)
        for name, value in zip(names, values, strict=True)
    )
    return "".join(f"<td>{html.escape('–' if text == 'nan' else text)}</td>" for text in texts)


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))


def _task_label(row: Mapping[Hashable, object]) -> str:
    kind = " (synthetic)" if row["samples"] == "synthetic" else ""
    return f"{row['title']} · {row['metric']}{kind}"
