from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from biomedica_corpus.truth import BENCHMARK_ROWS, EXPERTS, QUESTIONS
from biomedica_kedro.pmc.identifiers import split_of
from biomedica_kedro.records import EXPERT_VOTES

TASKS = ("embedded_figure_type", "embedded_concept", "embedded_panel_type", "embedded_retrieval")


def rows(corpus: Path, task: str) -> list[dict[str, object]]:
    table = pq.read_table(corpus / "benchmark" / task / "rows.parquet")
    assert table.schema.equals(BENCHMARK_ROWS)
    return table.to_pylist()


def votes(corpus: Path) -> list[dict[str, str]]:
    with (corpus / "annotations" / "expert_votes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("task", TASKS)
def test_benchmark_images_come_from_held_out_articles(corpus: Path, task: str) -> None:
    assert {split_of(str(row["group_id"])) for row in rows(corpus, task)} == {"test"}


def test_figure_type_has_as_many_images_of_each_class(corpus: Path) -> None:
    assert set(Counter(row["label"] for row in rows(corpus, "embedded_figure_type")).values()) == {3}


def test_panel_type_has_as_many_single_as_multiple(corpus: Path) -> None:
    counts = Counter(row["label_name"] for row in rows(corpus, "embedded_panel_type"))
    assert counts["single"] == counts["multiple"] > 0


def test_retrieval_has_captions_and_no_labels(corpus: Path) -> None:
    assert all(row["caption"] and row["label"] is None for row in rows(corpus, "embedded_retrieval"))


def test_label_numbers_go_with_names(corpus: Path) -> None:
    pairs = {(row["label"], row["label_name"]) for row in rows(corpus, "embedded_concept")}
    assert len(pairs) == len({label for label, _ in pairs}) == len({name for _, name in pairs})


def test_votes_have_the_columns_of_the_records(corpus: Path) -> None:
    cast = votes(corpus)
    assert list(cast[0]) == EXPERT_VOTES.names
    assert {vote["expert"] for vote in cast} == set(EXPERTS)
    assert {vote["question"] for vote in cast} == set(QUESTIONS)


def test_votes_refer_to_images_outside_the_test_split(corpus: Path) -> None:
    known = {row["key"]: row["split"] for row in pq.read_table(corpus / "truth.parquet").to_pylist()}
    voted = {key for vote in votes(corpus) for key in vote["keys"].split("|")}
    assert {known[key] for key in voted} == {"train", "validation"}


def test_experts_mostly_agree_and_sometimes_differ(corpus: Path) -> None:
    answers: dict[tuple[str, str], set[str]] = {}
    for vote in votes(corpus):
        answers.setdefault((vote["keys"], vote["question"]), set()).add(vote["answers"])
    differing = sum(len(given) > 1 for given in answers.values()) / len(answers)
    assert 0.03 < differing < 0.4
