"""The course of a training as an interactive figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

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
