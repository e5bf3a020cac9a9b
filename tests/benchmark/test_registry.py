"""The forty tasks of the paper, as data."""

from __future__ import annotations

from collections import Counter

from biomedica_kedro.benchmark.task import PAPER_SUITE, PAPER_TASKS, Kind, load_tasks

TASKS = load_tasks()
PAPER = [task for task in TASKS.values() if PAPER_SUITE in task.counts_for]


def test_forty_tasks_count_for_the_paper() -> None:
    assert len(PAPER) == PAPER_TASKS
    composition = [task for task in PAPER if task.domain == "microscopy_composition"]
    retrieval = [task for task in PAPER if task.kind is Kind.RETRIEVAL]
    assert (len(composition), len(retrieval)) == (4, 1)


def test_suites_have_the_sizes_of_the_released_set() -> None:
    suites = Counter(task.id.partition("_")[0] for task in PAPER)
    assert suites["ubench"] == 22 + 4
    assert sum(task.id.endswith("mnist") for task in PAPER) == 6
    assert suites["lc25000"] == 2


def test_all_twelve_flat_medmnist_sets_ship() -> None:
    assert sum(task.id.endswith("mnist") for task in TASKS.values()) == 12


def test_every_paper_task_can_be_read_and_says_where_from() -> None:
    for task in PAPER:
        assert task.loader is not None, task.id
        assert task.source.url.startswith("https://"), task.id


def test_guessed_wording_is_never_called_verified() -> None:
    guessed = [task for task in PAPER if any("not established" in issue for issue in task.known_issues)]
    assert guessed
    assert {task.wording for task in guessed} == {"reconstructed"}


def test_overlaps_name_known_tasks() -> None:
    for task in TASKS.values():
        assert set(task.subject_overlaps) <= TASKS.keys(), task.id
