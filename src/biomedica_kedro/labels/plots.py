"""Pictures of an annotation for kedro-viz: variance, cluster sizes and agreement; a map of images; contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from biomedica_kedro.labels.propagation import UNLABELED

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

_LAYOUT: dict[str, Any] = {"template": "plotly_white", "margin": {"t": 60, "r": 20}}
_MAX_COMPONENTS = 100
_GRAY = "#c0bfbc"
_PANELS_IN_ROW = 4


def plot_annotation(
    explained: pa.Table,
    sizes_K: npt.NDArray[np.int64],
    concepts_K: Sequence[str],
    agreement: Sequence[Mapping[str, Any]],
) -> go.Figure:
    """Variance by component, images by cluster, and how far the experts agree, one below the other.

    Args:
        explained: see `Projection.explained`.
        sizes_K: images of each cluster.
        concepts_K: first global concept of each cluster.
        agreement: rows of `annotator_agreement`.
    """
    from plotly.subplots import make_subplots

    titles = [_scree_title(explained), _sizes_title(sizes_K), _agreement_title(agreement)]
    specs = [[{"secondary_y": True}], [{}], [{}]]
    figure = make_subplots(rows=3, cols=1, subplot_titles=titles, specs=specs, vertical_spacing=0.1)
    bars, line = _scree(explained)
    figure.add_traces(bars, rows=1, cols=1)
    figure.add_trace(line, row=1, col=1, secondary_y=True)
    figure.add_traces(_sizes(sizes_K, concepts_K), rows=2, cols=1)
    figure.add_traces(_agreement(agreement), rows=3, cols=1)
    figure.update_xaxes(title="component", row=1, col=1)
    figure.update_yaxes(title="share of variance", tickformat=".0%", row=1, col=1, secondary_y=False)
    figure.update_yaxes(title="cumulative", tickformat=".0%", range=[0, 1.02], row=1, col=1, secondary_y=True)
    figure.update_xaxes(title="clusters by size", row=2, col=1)
    figure.update_yaxes(title="images", row=2, col=1)
    figure.update_yaxes(range=[0, 1], row=3, col=1)
    figure.update_layout(title="From images to labels", height=1200, legend={"groupclick": "toggleitem"}, **_LAYOUT)
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
            marker={"size": 5, "opacity": 0.75, "color": _GRAY if name == UNLABELED else None},
        )
        for name in sorted(set(concepts))
    ]
    figure = go.Figure(traces)
    axis = {"showticklabels": False, "zeroline": False}
    figure.update_layout(title=f"Map of {len(keys)} images", xaxis=axis, yaxis=axis, **_LAYOUT)
    return figure


def show_sheets(pages: Sequence[Image.Image]) -> Figure:
    """Contact sheets side by side as one matplotlib figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7 * max(len(pages), 1), 9), layout="tight")
    for axes, page in zip(np.atleast_1d(figure.subplots(1, max(len(pages), 1))), pages, strict=False):
        axes.imshow(page)
        axes.axis("off")
    return figure


def show_panels(images: Sequence[tuple[Image.Image, Mapping[str, Any]]]) -> Figure:
    """Images with the boxes and letters of their panels.

    Args:
        images: each with its row of `image_panels`; boxes are in its pixels.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = max(1, -(-len(images) // _PANELS_IN_ROW))
    figure = Figure(figsize=(4 * _PANELS_IN_ROW, 3.4 * rows), layout="tight")
    grid = np.ravel(figure.subplots(rows, _PANELS_IN_ROW, squeeze=False))
    for axes in grid:
        axes.axis("off")
    for axes, (image, found) in zip(grid, images, strict=False):
        axes.imshow(image)
        axes.set_title(f"{found['n_panels']} panels, {found['score']:.2f}", fontsize=9)
        for place, panel in enumerate(found["panels"]):
            color, (left, top) = f"C{place % 10}", (panel["left"], panel["top"])
            size = panel["right"] - left, panel["bottom"] - top
            axes.add_patch(Rectangle((left, top), *size, fill=False, edgecolor=color, linewidth=2))
            axes.text(left, top, panel["letter"] or "", color="white", va="top", backgroundcolor=color, fontsize=8)
    return figure


def _scree_title(explained: pa.Table) -> str:
    kept = explained.filter(explained["is_kept"])["share"].to_numpy()
    return f"Variance of image embeddings: {len(kept)} components keep {float(kept.sum()):.1%}"


def _scree(explained: pa.Table) -> tuple[list[go.Bar], go.Scatter]:
    """Share of variance by component, kept ones marked, and the cumulative share."""
    import plotly.graph_objects as go

    shown = explained.slice(0, _MAX_COMPONENTS)
    kept = shown["is_kept"].to_numpy(zero_copy_only=False)
    component, share = shown["component"].to_numpy(), shown["share"].to_numpy()
    group: dict[str, Any] = {"legendgroup": "variance", "legendgrouptitle": {"text": "Variance"}}
    bars = [
        go.Bar(x=component[kept], y=share[kept], name="kept", marker_color="#1a5fb4", offset=-0.4, width=0.8, **group),
        go.Bar(
            x=component[~kept], y=share[~kept], name="left out", marker_color=_GRAY, offset=-0.4, width=0.8, **group
        ),
    ]
    cumulative = shown["cumulative_share"].to_numpy()
    return bars, go.Scatter(x=component, y=cumulative, name="cumulative", line_color="#e66100", **group)


def _sizes_title(sizes_K: npt.NDArray[np.int64]) -> str:
    median = float(np.median(sizes_K)) if len(sizes_K) else 0.0
    return f"{len(sizes_K)} clusters, {int(sizes_K.sum())} images, median {median:.0f} a cluster"


def _sizes(sizes_K: npt.NDArray[np.int64], concepts_K: Sequence[str]) -> list[go.Bar]:
    """Images per cluster, largest first, colored by the cluster's first global concept."""
    import plotly.graph_objects as go

    order = np.argsort(-sizes_K, kind="stable")
    names = np.array(concepts_K, dtype=object)[order]
    rank = np.arange(1, len(order) + 1)
    return [
        go.Bar(
            x=rank[names == name],
            y=sizes_K[order][names == name],
            name=str(name),
            marker_color=_GRAY if name == UNLABELED else None,
            customdata=order[names == name],
            hovertemplate="cluster %{customdata}: %{y} images",
            offset=-0.5,  # one bar a cluster, not a group of bars
            width=1,
            legendgroup="clusters",
            legendgrouptitle={"text": "Clusters"},
        )
        for name in sorted(set(concepts_K))
    ]


def _agreement_title(rows: Sequence[Mapping[str, Any]]) -> str:
    clusters = max((int(row["clusters"]) for row in rows), default=0)
    experts = max((int(row["experts"]) for row in rows), default=0)
    return f"Agreement of {experts} experts on {clusters} clusters"


def _agreement(rows: Sequence[Mapping[str, Any]]) -> list[go.Bar]:
    """Per question: share of clusters on which experts differ, and two measures of agreement beyond chance."""
    import plotly.graph_objects as go

    questions = [str(row["question"]).replace("_", " ") for row in rows]
    measures = {
        "disagreement": "clusters with disagreement",
        "krippendorff_alpha": "Krippendorff's alpha",
        "fleiss_kappa": "Fleiss' kappa",
    }
    group: dict[str, Any] = {"legendgroup": "agreement", "legendgrouptitle": {"text": "Agreement"}}
    return [go.Bar(x=questions, y=[row[key] for row in rows], name=name, **group) for key, name in measures.items()]
