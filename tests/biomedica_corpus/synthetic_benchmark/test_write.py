from __future__ import annotations

from pathlib import Path

import pytest

from biomedica_corpus.synthetic_benchmark import write_synthetic_benchmark
from biomedica_corpus.synthetic_benchmark.__main__ import main
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.task import PAPER_TASKS, load_tasks


def test_all_released_tasks_load_and_validate_on_synthetic_samples(tmp_path: Path) -> None:
    reports = write_synthetic_benchmark(load_tasks(), tmp_path)
    assert len(reports) == PAPER_TASKS - 1, "one of the forty was never released"
    assert [report.task_id for report in reports if report.problems] == []
    told = {report.task_id: {reject.reason for reject in report.rejects} for report in reports if report.rejects}
    assert told == {"dsad": {"not_a_class"}, "ubench_stain": {"no_question"}}
    assert write_synthetic_benchmark(load_tasks(), tmp_path) == []
    store = SampleStore((tmp_path / "samples",))
    assert all(store.find(task_id).is_synthetic for task_id in store.task_ids())


def test_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    tasks = load_tasks()
    monkeypatch.setattr(f"{main.__module__}.load_tasks", lambda: {name: tasks[name] for name in ("pcam", "chexpert")})
    assert main([str(tmp_path / "benchmark")]) == 0
    assert "2 tasks in" in capsys.readouterr().out
    assert (tmp_path / "benchmark" / "samples" / "pcam" / "rows.parquet").is_file()
