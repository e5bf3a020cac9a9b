from datetime import UTC, datetime

import pytest
from kedro.io import DatasetError

from biomedica_kedro.datasets.panel_corrections import PanelCorrectionsDataset
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.labels.panel_corrections import append_correction


def test_corrections_of_all_people_are_loaded_and_previewed(tmp_path):
    for name in ("Ada", "Bo"):
        append_correction(tmp_path, name, f"by_{name}", [(Box(0, 0, 9, 9), "A")], datetime(2026, 1, 1, tzinfo=UTC))
    corrections = PanelCorrectionsDataset(path=str(tmp_path))

    assert corrections.load()["key"].to_pylist() == ["by_Ada", "by_Bo"]
    assert dict(corrections.preview())["data"][0][-1] == "A"


def test_without_a_file_there_are_none(tmp_path):
    assert PanelCorrectionsDataset(path=str(tmp_path / "none")).load().num_rows == 0


def test_file_of_another_form_is_named(tmp_path):
    (tmp_path / "ada.csv").write_text("a,b\n1,2\n")

    with pytest.raises(DatasetError, match=r"ada\.csv lacks the columns"):
        PanelCorrectionsDataset(path=str(tmp_path)).load()


def test_pipeline_cannot_write_corrections(tmp_path):
    with pytest.raises(DatasetError, match="people draw panels"):
        PanelCorrectionsDataset(path=str(tmp_path)).save("x")
