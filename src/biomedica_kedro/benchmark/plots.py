"""Where a model errs and how far its confidence can be trusted: confusion matrices and reliability curves.

Drawn from predictions of one model, one panel a task; matplotlib figures, since kedro-viz previews them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from biomedica_kedro.benchmark.metrics import ECE_BINS
from biomedica_kedro.benchmark.task import Task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_INCHES = 5.2


def confusion_figure(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], samples: Mapping[str, str], model_id: str
) -> Figure:
    """Share of each class's rows by predicted class; the last column holds rows without a single best option.

    Args:
        predictions: rows of `classification.PREDICTIONS` of one model under one prompt set.
        tasks: the registry; tasks without classes are left out.
        samples: task -> "real" or "synthetic"; a panel names the latter.
        model_id: whose answers they are, which the figure says.
    """
    names = [name for name in sorted(predictions["task"].unique()) if tasks[name].classes]
    figure, panels = _grid(len(names), f"Confusion of {model_id}")
    for name, panel in zip(names, panels, strict=False):
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
    return figure


def reliability_figure(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], samples: Mapping[str, str], model_id: str
) -> Figure:
    """Accuracy against confidence in 15 bins; on the diagonal a model means what it says.

    Args:
        predictions: see `confusion_figure`.
        tasks: the registry.
        samples: see `confusion_figure`.
        model_id: see `confusion_figure`.
    """
    names = sorted(predictions["task"].unique())
    figure, panels = _grid(len(names), f"Reliability of {model_id}")
    for name, panel in zip(names, panels, strict=False):
        rows = predictions[predictions["task"] == name]
        bins = np.clip(np.ceil(rows["confidence"] * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
        means = rows.groupby(bins)[["confidence", "correct"]].mean()
        panel.plot([0, 1], [0, 1], color="#999", linewidth=1, linestyle="--")
        panel.plot(means["confidence"], means["correct"], marker="o", color="#1f77b4")
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.set_title(_title(tasks[name], samples), fontsize=9)
        panel.set_xlabel("confidence", fontsize=7)
        panel.set_ylabel("accuracy", fontsize=7)
    return figure


def _grid(n_panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure that needs no display, and its panels; those not needed are removed."""
    from matplotlib.figure import Figure

    columns = max(1, min(_COLUMNS, n_panels))
    n_rows = max(1, -(-n_panels // columns))
    figure = Figure(figsize=(_INCHES * columns, _INCHES * n_rows), layout="constrained")
    figure.suptitle(title)
    panels = list(figure.subplots(n_rows, columns, squeeze=False).ravel())
    for panel in panels[n_panels:]:
        panel.remove()
    return figure, panels[:n_panels]


def _title(task: Task, samples: Mapping[str, str]) -> str:
    return f"{task.title}{' (synthetic)' if samples.get(task.id) == 'synthetic' else ''}"
