from __future__ import annotations

from pathlib import Path

import pytest

from biomedica_kedro.benchmark.activation import MISSING, ActivationOptions, active_tasks, ready_tasks
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.task import Task, TaskFileError, load_tasks
from tests.benchmark.samples_factory import class_rows, write_samples


def test_missing_data_are_listed_with_where_to_get_them(tmp_path: Path, color_task: Task) -> None:
    write_samples(tmp_path, "colors", class_rows(color_task, 2))
    tasks = {"colors": color_task, "shapes": color_task.model_copy(update={"id": "shapes"})}
    table = active_tasks(tasks, SampleStore((tmp_path,)), ActivationOptions()).set_index("task")
    assert table.loc["shapes", ["status", "license"]].tolist() == ["missing", "CC0"]
    assert "https://example.org" in table.loc["shapes", "note"]
    assert table.loc["colors", ["status", "n"]].tolist() == ["ready", 6]
    assert ready_tasks(table.reset_index()) == ["colors"]


def test_unknown_task_is_an_error(color_task: Task) -> None:
    with pytest.raises(TaskFileError, match="did you mean 'colors'"):
        active_tasks({"colors": color_task}, SampleStore(()), ActivationOptions(tasks=("color",)))


def test_task_that_was_not_released_or_has_no_usable_row_is_missing(tmp_path: Path) -> None:
    tasks = load_tasks()
    chosen = {name: tasks[name] for name in ("ubench_held_2010_mt", "ubench_opencell", "pcam")}
    write_samples(tmp_path, "ubench_opencell", [])
    notes = active_tasks(chosen, SampleStore((tmp_path,)), ActivationOptions()).set_index("task")
    assert set(notes["status"]) == {MISSING}
    assert notes.at["ubench_held_2010_mt", "note"].startswith("not released")
    assert notes.at["ubench_opencell", "note"].startswith("no sample could be used")
    assert "benchmark prepare" in notes.at["pcam", "note"]
