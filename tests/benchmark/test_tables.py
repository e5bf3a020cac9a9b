from __future__ import annotations

import pandas as pd
import pytest

from biomedica_kedro.benchmark.leaderboard import leaderboard_page
from biomedica_kedro.benchmark.scores import SCORE_ROWS
from biomedica_kedro.benchmark.tables import (
    averages_by_model,
    benchmark_table,
    beside_published,
    domain_averages,
    lengths_table,
    probe_table,
    recall_by_class,
    robustness_table,
    without_copies,
)
from biomedica_kedro.benchmark.task import Kind, Task


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


def test_averages_stand_side_by_side_and_say_where_a_model_lacks_tasks(tasks: dict[str, Task]) -> None:
    scores = pd.concat([_scores({"a": 0.2, "b": 0.4}, tasks), _scores({"a": 0.8}, tasks).assign(model_id="other")])
    averages = averages_by_model(domain_averages(benchmark_table(scores, tasks, "card"), tasks)).set_index("domain")
    assert averages.loc["pathology", ["tasks", "m", "other"]].tolist() == ["2 of 3", "0.300", "0.800 (over 1)"]
    assert averages.index.tolist() == ["pathology", "mean of domains", "all tasks"]


def test_chance_of_a_retrieval_follows_the_number_of_captions(tasks: dict[str, Task]) -> None:
    pairs = {"pairs": tasks["a"].model_copy(update={"id": "pairs", "kind": Kind.RETRIEVAL, "classes": ()})}
    scored = _scores({"pairs": 0.5}, {**tasks, **pairs}).assign(protocol="retrieval", prompt_set="")
    scores = pd.concat([
        scored.assign(metric="i2t_R_at_1"), scored.assign(metric="i2t_chance_R_at_1", value=0.04)
    ])  # fmt: skip
    assert benchmark_table(scores, pairs, "card")[["value", "chance"]].values.tolist() == [[0.5, 0.04]]


def test_scores_of_different_metrics_are_not_averaged_together(tasks: dict[str, Task]) -> None:
    findings = {**tasks, "b": tasks["b"].model_copy(update={"kind": Kind.MULTILABEL})}
    scores = pd.concat([_scores({"a": 0.2}, tasks), _scores({"b": 0.6}, tasks).assign(metric="balanced_accuracy")])
    averages = domain_averages(benchmark_table(scores, findings, "card"), findings)
    means = averages[averages["domain"] == "pathology"].set_index("metric")
    assert means["value"].to_dict() == {"accuracy": 0.2, "balanced_accuracy": 0.6}
    assert means["n_suite"].to_dict() == {"accuracy": 2, "balanced_accuracy": 1}


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
    table = benchmark_table(_scores({"a": 0.5}, tasks), tasks, "card")
    assert recall_by_class(scores, table)["class"].tolist() == ["red"]


def test_accuracy_without_copies_stands_beside_the_score(tasks: dict[str, Task]) -> None:
    table = benchmark_table(_scores({"a": 0.5, "b": 0.5}, tasks), tasks, "card")
    predictions = pd.DataFrame(
        {"model_id": "m", "task": ["a", "a", "b", "b"], "sample_id": ["x", "y"] * 2, "correct": [1.0, 0.0] * 2}
    )
    copies = pd.DataFrame({"task": ["a"], "sample_id": ["x"]})
    shown = without_copies(table, predictions, copies, ["a"]).set_index("task")
    assert shown["n_copied"].dropna().to_dict() == {"a": 1}, "nothing is known of a task that was not checked"
    assert shown["value_without_copies"].to_dict() == {"a": 0.0, "b": 0.5}


def test_few_shot_scores_follow_the_number_of_examples(tasks: dict[str, Task]) -> None:
    few_shot = _scores({"a": 0.5}, tasks).assign(protocol="few_shot", synthetic=True)
    scores = pd.concat([few_shot.assign(detail=detail) for detail in ("k16", "k4", "k1")])
    assert probe_table(scores)["detail"].tolist() == ["k1", "k4", "k16"]


def _asked(task: str, tasks: dict[str, Task]) -> pd.DataFrame:
    """Scores of samples that bring their own options, as `closed_questions` makes them."""
    base = _scores({task: 0.6}, tasks).assign(prompt_set="")
    one_wording = base.assign(prompt_set="captions_0", value=0.9)
    return pd.concat([base, base.assign(metric="chance", value=0.25), one_wording])


def test_samples_with_their_own_options_have_one_headline_and_their_own_chance(tasks: dict[str, Task]) -> None:
    findings = {"findings": tasks["a"].model_copy(update={"id": "findings", "kind": Kind.MULTILABEL})}
    table = benchmark_table(_asked("findings", {**tasks, **findings}), findings, "card")
    assert table[["metric", "value", "chance", "protocol", "by_wording"]].values.tolist() == [
        ["accuracy", 0.6, 0.25, "captions of each row", "captions_0 0.900"]
    ]
    plain = benchmark_table(_scores({"a": 0.2}, tasks), tasks, "card")
    assert plain[["chance", "protocol", "by_wording"]].values.tolist() == [
        [pytest.approx(1 / 3), "class names in card prompts", ""]
    ]


PUBLISHED = pd.DataFrame(
    {
        "model": ["B", "B", "C"], "task": ["a", "a", "b"], "metric": "accuracy", "value": [0.5, 0.7, 0.9],
        "protocol": ["captions of each row", "captions of each row in the paper's evaluation set", "x"],
        "source": "paper", "known_error": "",
    }
)  # fmt: skip


def test_published_scores_stand_beside_measured_ones_with_their_protocol(tasks: dict[str, Task]) -> None:
    scores = pd.concat([_asked("a", tasks), _scores({"b": 1.0}, tasks, synthetic=True)])
    table = benchmark_table(scores, tasks, "card")
    both = beside_published(table, PUBLISHED)
    assert both[["task", "protocol", "origin", "model", "value"]].values.tolist() == [
        ["a", "captions of each row", "measured", "m", 0.6],
        ["a", "captions of each row", "published", "B", 0.5],
        ["a", "captions of each row in the paper's evaluation set", "published", "B", 0.7],
    ]
    page = leaderboard_page(
        table,
        {
            "averages": domain_averages(table, tasks), "recalls": recall_by_class(scores, table),
            "probes": probe_table(scores), "robustness": robustness_table(scores), "lengths": lengths_table(scores),
            "comparison": pd.DataFrame(), "published": PUBLISHED,
            "active": pd.DataFrame(columns=["task", "domain", "access", "license", "url", "status"]),
        },
        {"BiomedCLIP": "no network"},
    )  # fmt: skip
    assert "<td>BiomedCLIP</td><td>no network</td>" in page
    assert page.count("captions of each row in the paper&#x27;s evaluation set") == 2


def test_without_real_scores_all_published_ones_are_shown(tasks: dict[str, Task]) -> None:
    table = benchmark_table(_scores({"a": 0.2}, tasks, synthetic=True), tasks, "card")
    assert beside_published(table, PUBLISHED)["origin"].tolist() == ["published"] * 3


def test_no_value_of_a_table_becomes_markup(tasks: dict[str, Task]) -> None:
    scores = _asked("a", tasks)
    table = benchmark_table(scores, tasks, "card").assign(n="<script>", title="<script>")
    page = leaderboard_page(
        table,
        {
            "averages": domain_averages(table, tasks), "recalls": recall_by_class(scores, table),
            "probes": probe_table(scores), "comparison": pd.DataFrame(), "published": PUBLISHED,
            "robustness": pd.DataFrame(), "lengths": pd.DataFrame(),
            "active": pd.DataFrame(columns=["task", "domain", "access", "license", "url", "status"]),
        },
        left_out={},
    )  # fmt: skip
    assert "<td>&lt;script&gt;</td>" in page
    assert "<td><script>" not in page
