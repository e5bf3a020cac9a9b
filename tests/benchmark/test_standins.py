from __future__ import annotations

from pathlib import Path

import pytest

from biomedica_kedro.benchmark.__main__ import main
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.standins import write_standins
from biomedica_kedro.benchmark.task import PAPER_TASKS, load_tasks


def test_all_forty_tasks_load_and_validate_on_stand_ins(tmp_path: Path) -> None:
    reports = write_standins(load_tasks(), tmp_path)
    assert len(reports) == PAPER_TASKS
    assert [report.task_id for report in reports if report.problems or report.rejects] == []
    assert write_standins(load_tasks(), tmp_path) == []
    store = SampleStore((tmp_path / "samples",))
    assert all(store.find(task_id).is_synthetic for task_id in store.task_ids())


def test_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from biomedica_kedro.benchmark.standins import write_standin

    write_standin(load_tasks()["pcam"], tmp_path / "pcam")
    arguments = ["prepare", "pcam", "--source", str(tmp_path / "pcam"), "--target", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "6 samples, 32768 were published" in capsys.readouterr().out
    assert main(["validate", "--target", str(tmp_path / "out")]) == 1
    assert main(["prepare", "pcan", "--source", "x"]) == 2
    assert "did you mean 'pcam'" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(load_tasks()) + 1
