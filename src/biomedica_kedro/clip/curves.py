"""What a training sees and how it goes, as interactive figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import Split

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def draw_curves(history: pa.Table) -> Figure:
    """Three panels over the steps: loss, learning rate and scale, validation retrieval.

    Args:
        history: `run.HISTORY`.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("loss", "learning rate", "validation retrieval, share found among the first k")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles)
    steps = history["step"].to_pylist()

    def add(name: str, column: int, mode: str = "lines") -> None:
        points = [
            (step, value) for step, value in zip(steps, history[name].to_pylist(), strict=True) if value is not None
        ]
        x, y = zip(*points, strict=True) if points else ((), ())
        figure.add_trace(go.Scatter(x=list(x), y=list(y), mode=mode, name=name), row=1, col=column)

    add("loss", 1)
    add("learning_rate", 2)
    for name in (name for name in history.column_names if name.startswith("validation/") and not name.endswith("_5")):
        add(name, 3, "lines+markers")
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(template="plotly_white", height=420, width=1250, legend={"orientation": "h", "y": -0.25})
    return figure


def draw_selection(counts: pa.Table, tokens: pa.Table) -> Figure:
    """Two panels: training samples by concept, available, selected and drawn in an epoch; shares by context length.

    Args:
        counts: `selection.COUNTS`.
        tokens: `token_lengths.TOKENS`.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("training samples by concept", "caption tokens by context length, shares")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles)
    of_training = counts.filter(pc.equal(counts["split"], Split.TRAIN.value)).to_pydict()
    for name in ("available", "selected", "draws_per_epoch"):
        figure.add_trace(go.Bar(x=of_training["concept"], y=of_training[name], name=name), row=1, col=1)
    by_length = tokens.to_pydict()
    lengths = [str(length) for length in by_length["context_length"]]
    for name in ("cut_captions", "lost_tokens", "empty_places"):
        figure.add_trace(go.Bar(x=lengths, y=by_length[name], name=name), row=1, col=2)
    figure.update_xaxes(title_text="context length", type="category", row=1, col=2)
    figure.update_layout(template="plotly_white", height=420, width=1250, legend={"orientation": "h", "y": -0.35})
    return figure
