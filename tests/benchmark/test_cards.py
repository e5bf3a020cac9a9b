from __future__ import annotations

import pandas as pd
import pytest

from biomedica_kedro.benchmark.cards import scores_latex, scores_markdown, task_card
from biomedica_kedro.benchmark.tables import domain_averages
from biomedica_kedro.benchmark.task import Task

ACTIVE = {"n": 30, "synthetic": False, "digest": "abc"}
RECALLS = pd.DataFrame(
    [{"model_id": "m_1", "task": "colors", "class": "red", "value": 0.25, "ci_low": 0.1, "ci_high": 0.4}]
)


def _table(values: dict[str, float], samples: str = "real", task: str = "colors") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model_id": model, "task": task, "title": "Colors & shades", "domain": "paint", "metric": "accuracy",
                "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 30, "samples": samples,
                "counts_for": "paper40",
            }
            for model, value in values.items()
        ]
    )  # fmt: skip


@pytest.fixture
def both() -> pd.DataFrame:
    return pd.concat([_table({"m_1": 0.5, "m_2": 0.75}), _table({"m_1": 0.9}, "synthetic")])


def test_card_says_what_the_task_is_and_how_models_do(color_task: Task) -> None:
    task = color_task.model_copy(update={"known_issues": ("tiles overlap",)})
    table = _table({"m_1": 0.5}).assign(
        protocol="captions of each row", by_wording="captions_0 0.400, captions_1 0.600"
    )
    card = task_card(task, ACTIVE, table, RECALLS)
    assert card.startswith(f"# {task.title}")
    assert "| license | CC0 |" in card
    assert "- tiles overlap" in card
    asked = "captions of each row: captions_0 0.400, captions_1 0.600"
    assert f"| m_1 | accuracy | 0.500 [0.400, 0.600] | 30 | {asked} |" in card
    assert "| red | red | 0.250 [0.100, 0.400] |" in card
    assert "| blue | blue | – |" in card


def test_one_table_has_a_column_a_model_a_mean_a_domain_and_what_it_covers(
    both: pd.DataFrame, color_task: Task
) -> None:
    tasks = {"colors": color_task, "more": color_task.model_copy(update={"id": "more"})}
    text = scores_markdown(both, domain_averages(both, tasks))
    assert text.startswith("1 of 40 tasks of the paper's suite were measured on real samples, 1 on synthetic ones.")
    assert "| task | domain | metric | samples | m_1 | m_2 |" in text
    shown = "| Colors & shades | paint | accuracy | real | 0.500 [0.400, 0.600] | **0.750 [0.650, 0.850]** |"
    assert shown in text
    assert "| mean, paper40: 1 of 2 tasks | paint | accuracy | real | 0.500 | **0.750** |" in text
    assert "| Colors & shades | paint | accuracy | synthetic | **0.900 [0.800, 1.000]** | – |" in text


def test_latex_has_a_column_a_model_and_escapes_names(both: pd.DataFrame, color_task: Task) -> None:
    lines = scores_latex(both, domain_averages(both, {"colors": color_task})).splitlines()
    assert r"task & domain & metric & samples & m\_1 & m\_2 \\" in lines
    shown = r"Colors \& shades & paint & accuracy & real & 0.500 [0.400, 0.600] & \textbf{0.750 [0.650, 0.850]} \\"
    assert shown in lines
    assert {len(line.replace(r"\&", "").split("&")) for line in lines if "&" in line} == {6}
