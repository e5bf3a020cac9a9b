"""Pictures of an annotation for kedro-viz: scree plot, cluster sizes, map of images, agreement of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from biomedica_kedro.labels.propagation import UNLABELLED

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

_LAYOUT: dict[str, Any] = {"template": "plotly_white", "margin": {"t": 60, "r": 20}}
_MAX_COMPONENTS = 100
_GRAY = "#c0bfbc"


def plot_scree(explained: pa.Table) -> go.Figure:
    """Share of variance by component, kept ones marked, and the cumulative share."""
    import plotly.graph_objects as go

    shown = explained.slice(0, _MAX_COMPONENTS)
    kept = shown["is_kept"].to_numpy(zero_copy_only=False)
    component, share = shown["component"].to_numpy(), shown["share"].to_numpy()
    total = float(explained["share"].to_numpy()[explained["is_kept"].to_numpy(zero_copy_only=False)].sum())
    figure = go.Figure(
        [
            go.Bar(x=component[kept], y=share[kept], name="kept", marker_color="#1a5fb4"),
            go.Bar(x=component[~kept], y=share[~kept], name="left out", marker_color=_GRAY),
            go.Scatter(
                x=component, y=shown["cumulative_share"].to_numpy(), name="cumulative", yaxis="y2", line_color="#e66100"
            ),
        ]
    )
    figure.update_layout(
        title=f"Variance of image embeddings: {int(kept.sum())} components keep {total:.1%}",
        xaxis_title="component",
        yaxis={"title": "share of variance", "tickformat": ".0%"},
        yaxis2={"title": "cumulative", "overlaying": "y", "side": "right", "range": [0, 1.02], "tickformat": ".0%"},
        legend={"orientation": "h", "y": 1.08, "x": 0.6},
        **_LAYOUT,
    )
    return figure


def plot_cluster_sizes(sizes_K: npt.NDArray[np.int64], labels: Sequence[str]) -> go.Figure:
    """Images per cluster, largest first, colored by the cluster's first global concept."""
    import plotly.graph_objects as go

    order = np.argsort(-sizes_K, kind="stable")
    names = np.array(labels, dtype=object)[order]
    rank = np.arange(1, len(order) + 1)
    bars = [
        go.Bar(
            x=rank[names == name],
            y=sizes_K[order][names == name],
            name=str(name),
            marker_color=_GRAY if name == UNLABELLED else None,
            customdata=order[names == name],
            hovertemplate="cluster %{customdata}: %{y} images",
        )
        for name in sorted(set(labels))
    ]
    figure = go.Figure(bars)
    median = float(np.median(sizes_K)) if len(sizes_K) else 0.0
    figure.update_layout(
        title=f"{len(sizes_K)} clusters, {int(sizes_K.sum())} images, median {median:.0f} a cluster",
        xaxis_title="clusters by size",
        yaxis_title="images",
        bargap=0,
        **_LAYOUT,
    )
    return figure


def plot_image_map(points_N2: npt.NDArray[np.float32], concepts: Sequence[str], keys: Sequence[str]) -> go.Figure:
    """A sample of the images on two axes, colored by concept."""
    import plotly.graph_objects as go

    names = np.array(concepts, dtype=object)
    texts = np.array(keys, dtype=object)
    traces = [
        go.Scattergl(
            x=points_N2[names == name, 0],
            y=points_N2[names == name, 1],
            text=texts[names == name],
            mode="markers",
            name=str(name),
            marker={"size": 5, "opacity": 0.75, "color": _GRAY if name == UNLABELLED else None},
        )
        for name in sorted(set(concepts))
    ]
    figure = go.Figure(traces)
    axis = {"showticklabels": False, "zeroline": False}
    figure.update_layout(title=f"Map of {len(keys)} images", xaxis=axis, yaxis=axis, **_LAYOUT)
    return figure


def plot_agreement(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Per question: share of clusters on which experts differ, and Krippendorff's alpha."""
    import plotly.graph_objects as go

    questions = [str(row["question"]).replace("_", " ") for row in rows]
    figure = go.Figure(
        [
            go.Bar(x=questions, y=[row["disagreement"] for row in rows], name="clusters with disagreement"),
            go.Bar(x=questions, y=[row["krippendorff_alpha"] for row in rows], name="Krippendorff's alpha"),
            go.Bar(x=questions, y=[row["fleiss_kappa"] for row in rows], name="Fleiss' kappa"),
        ]
    )
    clusters = max((int(row["clusters"]) for row in rows), default=0)
    experts = max((int(row["experts"]) for row in rows), default=0)
    figure.update_layout(
        title=f"Agreement of {experts} experts on {clusters} clusters",
        yaxis={"range": [0, 1]},
        barmode="group",
        **_LAYOUT,
    )
    return figure


def show_sheets(pages: Sequence[Image.Image]) -> Figure:
    """Contact sheets side by side as one matplotlib figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7 * max(len(pages), 1), 9), layout="tight")
    for axes, page in zip(np.atleast_1d(figure.subplots(1, max(len(pages), 1))), pages, strict=False):
        axes.imshow(page)
        axes.axis("off")
    return figure
