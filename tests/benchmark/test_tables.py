from __future__ import annotations

import pandas as pd
import pytest

from biomedica_kedro.benchmark.scores import SCORE_ROWS
from biomedica_kedro.benchmark.tables import (
    benchmark_table,
    domain_averages,
    probe_table,
    recall_by_class,
    without_copies,
)
from biomedica_kedro.benchmark.task import Task


@pytest.fixture
def tasks(color_task: Task) -> dict[str, Task]:
    def like(name: str, domain: str, **changes: object) -> Task:
        return color_task.model_copy(update={"id": name, "domain": domain, **changes})

    listed = [
        like("a", "pathology"), like("b", "pathology"), like("c", "radiology"), like("d", "surgery"),
        like("own", "pathology", counts_for=()), like("single", "pathology", excluded_from_averages="one option"),
    ]  # fmt: skip
    return {task.id: task for task in listed}


def _scores(values: dict[str, float], tasks: dict[str, Task], synthetic: bool = False) -> pd.DataFrame:
    rows = [
        {
            **dict.fromkeys(SCORE_ROWS.names), "model_id": "m", "task": name, "metric": "accuracy", "value": value,
            "n": 10, "protocol": "zero_shot", "prompt_set": "card", "domain": tasks[name].domain,
            "synthetic": synthetic,
        }
        for name, value in values.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_averages_are_recomputed_and_say_what_is_missing(tasks: dict[str, Task]) -> None:
    scores = _scores({"a": 0.2, "b": 0.4, "c": 0.9, "own": 1.0, "single": 1.0}, tasks)
    averages = domain_averages(benchmark_table(scores, tasks, "card"), tasks).set_index(["suite", "domain"])
    assert averages.loc[("paper40", "pathology"), "value"] == pytest.approx(0.3)
    assert averages.loc[("paper40", "all tasks"), "value"] == pytest.approx(0.5)
    assert averages.loc[("paper40", "mean of domains"), "value"] == pytest.approx(0.6)
    assert averages.loc[("paper40", "all tasks"), ["n_tasks", "n_suite", "missing"]].tolist() == [3, 5, "d, single"]
    assert averages.loc[("other", "all tasks"), ["value", "missing"]].tolist() == [1.0, ""]


def test_synthetic_scores_never_enter_an_average_with_real_ones(tasks: dict[str, Task]) -> None:
    scores = pd.concat([_scores({"a": 0.2}, tasks), _scores({"b": 1.0}, tasks, synthetic=True)])
    averages = domain_averages(benchmark_table(scores, tasks, "card"), tasks)
    means = averages[averages["domain"] == "all tasks"].set_index("samples")["value"]
    assert means.to_dict() == {"real": 0.2, "synthetic": 1.0}


def test_only_the_chosen_prompt_set_is_shown(tasks: dict[str, Task]) -> None:
    other = _scores({"a": 0.9}, tasks).assign(prompt_set="ensemble")
    table = benchmark_table(pd.concat([_scores({"a": 0.2}, tasks), other]), tasks, "card")
    assert table["value"].tolist() == [0.2]


def test_recall_by_class_keeps_the_class_name(tasks: dict[str, Task]) -> None:
    scores = _scores({"a": 0.5}, tasks).assign(metric="recall", detail="red")
    assert recall_by_class(scores, "card")["class"].tolist() == ["red"]


def test_accuracy_without_copies_stands_beside_the_score(tasks: dict[str, Task]) -> None:
    table = benchmark_table(_scores({"a": 0.5, "b": 0.5}, tasks), tasks, "card")
    predictions = pd.DataFrame(
        {"model_id": "m", "task": ["a", "a", "b", "b"], "sample_id": ["x", "y"] * 2, "correct": [1.0, 0.0] * 2}
    )
    copies = pd.DataFrame({"task": ["a"], "sample_id": ["x"]})
    shown = without_copies(table, predictions, copies).set_index("task")
    assert shown["n_copied"].to_dict() == {"a": 1, "b": 0}
    assert shown["value_without_copies"].to_dict() == {"a": 0.0, "b": 0.5}


def test_few_shot_scores_follow_the_number_of_examples(tasks: dict[str, Task]) -> None:
    few_shot = _scores({"a": 0.5}, tasks).assign(protocol="few_shot", synthetic=True)
    scores = pd.concat([few_shot.assign(detail=detail) for detail in ("k16", "k4", "k1")])
    assert probe_table(scores)["detail"].tolist() == ["k1", "k4", "k16"]
