from __future__ import annotations

import numpy as np
import pandas as pd

from biomedica_kedro.benchmark.plots import errors_figure
from biomedica_kedro.benchmark.task import Task


def _predictions(tasks: list[str]) -> pd.DataFrame:
    rows = [
        {
            "task": task,
            "label": at % 3,
            "predicted": (-1 if at == 0 else at % 3),
            "correct": float(at != 0),
            "confidence": 0.7,
        }
        for task in tasks
        for at in range(9)
    ]
    return pd.DataFrame(rows, columns=["task", "label", "predicted", "correct", "confidence"])


def test_matrix_shows_recall_by_class_and_ties_apart(color_task: Task) -> None:
    figure = errors_figure(_predictions(["colors"]), {"colors": color_task}, {"colors": "synthetic"}, "m")
    shares = np.asarray(figure.axes[0].images[0].get_array())
    assert shares.shape == (3, 4)
    assert shares[0].tolist() == [2 / 3, 0, 0, 1 / 3]
    assert figure.axes[0].get_title() == "Colors (synthetic)"


def test_one_panel_a_task_and_none_without_predictions(color_task: Task) -> None:
    tasks = {name: color_task.model_copy(update={"id": name}) for name in "abcd"}
    tasks["d"] = color_task.model_copy(update={"id": "d", "classes": ()})
    figure = errors_figure(_predictions(list("abcd")), tasks, {}, "m")
    assert [len(part.axes) for part in figure.subfigs] == [3, 4]
    assert errors_figure(_predictions([]), tasks, {}, "m").axes == []
