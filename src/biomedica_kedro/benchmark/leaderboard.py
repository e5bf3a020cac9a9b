"""The leaderboard: a figure for kedro-viz and one self-contained HTML page (no script from the network).

The page holds every score with its interval, the averages with what they rest on, recall by class, the paired
comparisons and the tasks without data. Synthetic samples are called so wherever their scores stand.
"""

from __future__ import annotations

import html
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from biomedica_kedro.benchmark.tables import beside_published, published_averages

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


def leaderboard_page(table: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> str:
    """The page as a string of HTML.

    Args:
        table: of `tables.benchmark_table`.
        others: "averages" of `tables.domain_averages`, "recalls" of `tables.recall_by_class`, "probes" of
            `tables.probe_table`, "comparison" of `comparison.compare_predictions`, "active" of
            `activation.active_tasks`, and "published" scores from the literature, with their source and known errors.
    """
    active = others["active"]
    missing = active[active["status"] == "missing"][["task", "domain", "access", "license", "url"]]
    wide = others["recalls"].pivot_table(index=["task", "class"], columns="model_id", values="value", sort=False)
    sections = [
        ("Scores", _explanation(table), _scores_table(table)),
        ("Averages", "Computed from the rows above; never copied.", _plain(others["averages"])),
        ("Profile by domain", "Mean score of each domain.", _radar(others["averages"])),
        ("Recall by class", "Zero-shot, by the prompts shown above.", _plain(wide.reset_index())),
        ("Probes", "Fitted on labels: folds never share a patient, slide or article.", _plain(others["probes"])),
        ("Paired comparisons", "Difference in accuracy on the same samples; p corrected by Holm.",
         _plain(others["comparison"])),
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
        f"{real} scores on real samples, {drawn} on synthetic ones. Bars: 95 % bootstrap intervals; ticks: chance. "
        "Click a heading to sort."
    )


def _scores_table(table: pd.DataFrame) -> str:
    rows = "".join(_score_row(row) for row in table.to_dict("records"))
    headings = "".join(
        f"<th>{name}</th>"
        for name in ("model", "task", "domain", "metric", "score", "95 % interval", "", "n", "samples", "protocol")
    )
    return f'<table class="sortable" id="scores"><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>'


def _score_row(row: Mapping[Hashable, object]) -> str:
    value, low, high, chance = (_number(row[name]) for name in ("value", "ci_low", "ci_high", "chance"))
    synthetic = row["samples"] == "synthetic"
    cells = [
        (str(row["model_id"]), ""), (str(row["title"]), str(row["note"])), (str(row["domain"]), ""),
        (str(row["metric"]), ""), (f"{value:.3f}", ""), (f"{low:.3f} – {high:.3f}", ""),
    ]  # fmt: skip
    text = "".join(f'<td title="{html.escape(hint)}">{html.escape(cell)}</td>' for cell, hint in cells)
    wordings = f": {row['by_wording']}" if row["by_wording"] else ""
    protocol = f"<td>{html.escape(str(row['protocol']) + wordings)}</td>"
    label = f'<span class="badge" title="{_SYNTHETIC}">synthetic</span>' if synthetic else "real"
    n = html.escape(str(row["n"]))
    return f"<tr>{text}<td>{_bar(value, low, high, chance)}</td><td>{n}</td><td>{label}</td>{protocol}</tr>"


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

    lines = averages[(averages["suite"] != "other") & ~averages["domain"].isin(["all tasks", "mean of domains"])]
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
