from __future__ import annotations

import pandas as pd
import pytest

from biomedica_kedro.benchmark.publication import benchmark_runs
from biomedica_kedro.benchmark.scores import SCORE_ROWS
from biomedica_kedro.benchmark.tables import benchmark_table
from biomedica_kedro.benchmark.task import Task


@pytest.mark.parametrize(
    ("access", "is_complete"), [("unreleased", "true"), ("open", "false")], ids=["not released", "not fetched"]
)
def test_task_that_nobody_can_measure_does_not_make_a_run_incomplete(
    color_task: Task, access: str, is_complete: str
) -> None:
    score = {
        **dict.fromkeys(SCORE_ROWS.names), "model_id": "m", "task": "colors", "metric": "accuracy", "value": 0.5,
        "n": 9, "protocol": "zero_shot", "prompt_set": "card", "domain": "paint", "synthetic": False, "seed": 0,
    }  # fmt: skip
    active = pd.DataFrame({"task": ["colors", "other"], "status": ["ready", "missing"], "access": ["open", access]})
    scores, tasks = pd.DataFrame([score]), {"colors": color_task}
    (run,) = benchmark_runs(
        scores, benchmark_table(scores, tasks, "card"), active, tasks,
        described={"m": {"model.weights": "tag"}}, prompt_set="card", artifacts={},
    )  # fmt: skip
    assert run.params["model.weights"] == "tag"
    assert "weights tag" in run.description
    assert run.tags["bench.complete"] == is_complete
    assert run.metrics["zs/paint/colors/acc"] == 0.5
