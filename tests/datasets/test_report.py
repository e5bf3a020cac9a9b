"""A report exists when it is whole, and says what it was drawn from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from biomedica_kedro.datasets.report import AbsentReport, ReportDataset
from biomedica_kedro.stages.node import Drawn


@pytest.fixture
def report(tmp_path):
    return ReportDataset(filepath=str(tmp_path / "table.json"), dataset="json.JSONDataset")


def test_file_that_a_kill_left_empty_is_not_there(report, tmp_path):
    (tmp_path / "table.json").touch()
    assert not report.exists()
    assert report.drawn_from() is None


def test_who_reads_while_a_report_is_drawn_again_finds_the_whole_one_before(report, tmp_path, monkeypatch):
    report.save(Drawn({"n": 1}, "first"))
    assert report.exists()

    def killed_halfway(value):
        (half,) = tmp_path.glob(".table.json.*.tmp")
        assert half.stat().st_size == 0 and report.load() == {"n": 1}
        raise KeyboardInterrupt

    def half_written(filepath):
        Path(filepath).touch()
        return SimpleNamespace(save=killed_halfway)

    monkeypatch.setattr(report, "_made", half_written)
    with pytest.raises(KeyboardInterrupt):
        report.save(Drawn({"n": 2}, "second"))
    assert report.load() == {"n": 1}
    assert not report.exists(), "it is drawn again"


@pytest.mark.parametrize("record", [b"", b"{}", b"null", b'{"inputs'])
def test_damaged_record_is_as_good_as_none(report, tmp_path, record):
    report.save(Drawn({"n": 1}, "first"))
    (tmp_path / ".table.json.inputs.json").write_bytes(record)
    assert report.drawn_from() is None
    assert not report.exists()


def test_file_that_was_emptied_afterwards_is_not_there(report, tmp_path):
    report.save(Drawn({"n": 1}, "first"))
    (tmp_path / "table.json").write_bytes(b"")
    assert not report.exists()


def test_picture_is_read_as_its_bytes(tmp_path):
    from matplotlib.figure import Figure

    picture = ReportDataset(filepath=str(tmp_path / "sheet.png"), dataset="matplotlib.MatplotlibDataset")
    picture.save(Drawn(Figure(figsize=(1, 1)), "x"))
    assert picture.load()[:4] == b"\x89PNG"


def test_absent_report_is_none():
    assert AbsentReport().load() is None
