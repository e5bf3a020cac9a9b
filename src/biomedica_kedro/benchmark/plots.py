"""Where a model errs and how far its confidence can be trusted: confusion matrices and reliability curves.

Drawn from predictions of one model, one panel a task; a matplotlib figure, since kedro-viz previews it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from biomedica_kedro.benchmark.metrics import ECE_BINS
from biomedica_kedro.benchmark.task import Task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_COLUMNS = 3
_INCHES = 5.2


def errors_figure(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], samples: Mapping[str, str], model_id: str
) -> Figure:
    """Confusion matrices, and below them reliability curves: no display is needed.

    Args:
        predictions: rows of `classification.PREDICTIONS` of one model under one prompt set.
        tasks: the registry.
        samples: task -> "real" or "synthetic"; a panel names the latter.
        model_id: whose answers they are, which the figure says.
    """
    from matplotlib.figure import Figure

    names = sorted(predictions["task"].unique())
    with_classes = [name for name in names if tasks[name].classes]
    rows = [max(1, -(-len(shown) // _COLUMNS)) for shown in (with_classes, names)]
    figure = Figure(figsize=(_INCHES * _COLUMNS, _INCHES * sum(rows)), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=rows)
    above, below = (figure.add_subfigure(grid[row]) for row in range(2))
    above.suptitle(f"Confusion of {model_id}")
    below.suptitle(f"Reliability of {model_id}")
    _draw_confusion(_panels(above, len(with_classes)), with_classes, predictions, tasks, samples)
    _draw_reliability(_panels(below, len(names)), names, predictions, tasks, samples)
    return figure


def _draw_confusion(
    panels: Sequence[Axes], names: Sequence[str], predictions: pd.DataFrame, tasks: Mapping[str, Task],
    samples: Mapping[str, str],
) -> None:  # fmt: skip
    """Share of each class's rows by predicted class; the last column holds rows without a single best option."""
    for name, panel in zip(names, panels, strict=True):
        rows, task = predictions[predictions["task"] == name], tasks[name]
        k = len(task.classes)
        counts_KP = np.zeros((k, k + 1))
        np.add.at(counts_KP, (rows["label"], rows["predicted"].where(rows["predicted"] >= 0, k)), 1)
        panel.imshow(counts_KP / np.maximum(counts_KP.sum(1, keepdims=True), 1), vmin=0, vmax=1, cmap="Blues")
        panel.set_title(_title(task, samples), fontsize=9)
        panel.set_yticks(range(k), [cls.name for cls in task.classes], fontsize=6)
        panel.set_xticks(range(k + 1), [*(cls.name for cls in task.classes), "tie"], rotation=90, fontsize=6)
        panel.set_ylabel("label", fontsize=7)
        panel.set_xlabel("predicted", fontsize=7)


def _draw_reliability(
    panels: Sequence[Axes], names: Sequence[str], predictions: pd.DataFrame, tasks: Mapping[str, Task],
    samples: Mapping[str, str],
) -> None:  # fmt: skip
    """Accuracy against confidence in 15 bins; on the diagonal a model means what it says."""
    for name, panel in zip(names, panels, strict=True):
        rows = predictions[predictions["task"] == name]
        bins = np.clip(np.ceil(rows["confidence"] * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
        means = rows.groupby(bins)[["confidence", "correct"]].mean()
        panel.plot([0, 1], [0, 1], color="#999", linewidth=1, linestyle="--")
        panel.plot(means["confidence"], means["correct"], marker="o", color="#1f77b4")
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.set_title(_title(tasks[name], samples), fontsize=9)
        panel.set_xlabel("confidence", fontsize=7)
        panel.set_ylabel("accuracy", fontsize=7)


def _panels(figure: SubFigure, n_panels: int) -> list[Axes]:
    """Panels in rows; those not needed are removed."""
    panels = list(figure.subplots(max(1, -(-n_panels // _COLUMNS)), _COLUMNS, squeeze=False).ravel())
    for panel in panels[n_panels:]:
        panel.remove()
    return panels[:n_panels]


def _title(task: Task, samples: Mapping[str, str]) -> str:
    return f"{task.title}{' (synthetic)' if samples.get(task.id) == 'synthetic' else ''}"
