from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from biomedica_kedro.benchmark.activation import ActivationOptions, active_tasks, ready_tasks
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.task import Task, TaskFileError
from tests.benchmark.samples_factory import class_rows, write_samples


def test_missing_data_are_listed_with_where_to_get_them(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 2)
    write_samples(tmp_path, "colors", rows)
    tasks = {"colors": color_task, "shapes": color_task.model_copy(update={"id": "shapes"})}
    hashes = pa.chunked_array([[rows[0]["sha256"], "elsewhere"]])
    table = active_tasks(tasks, SampleStore((tmp_path,)), hashes, ActivationOptions()).set_index("task")
    assert table.loc["shapes", ["status", "license"]].tolist() == ["missing", "CC0"]
    assert "https://example.org" in table.loc["shapes", "note"]
    assert table.loc["colors", ["status", "n", "n_in_training"]].tolist() == ["ready", 6, 1]
    assert ready_tasks(table.reset_index()) == ["colors"]


def test_unknown_task_is_an_error(color_task: Task) -> None:
    with pytest.raises(TaskFileError, match="did you mean 'colors'"):
        active_tasks({"colors": color_task}, SampleStore(()), None, ActivationOptions(tasks=("color",)))
