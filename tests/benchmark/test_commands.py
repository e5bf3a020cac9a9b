from __future__ import annotations

from pathlib import Path

import pytest

from biomedica_corpus.synthetic_benchmark.released import write_released
from biomedica_kedro.benchmark.__main__ import main
from biomedica_kedro.benchmark.task import load_tasks


def test_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_released(load_tasks()["pcam"], tmp_path / "pcam")
    arguments = ["prepare", "pcam", "--source", str(tmp_path / "pcam"), "--target", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "6 samples, 32768 were published" in capsys.readouterr().out
    assert main(["validate", "--target", str(tmp_path / "out")]) == 1
    assert main(["prepare", "pcan", "--source", "x"]) == 2
    assert "did you mean 'pcam'" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(load_tasks()) + 1  # a heading
