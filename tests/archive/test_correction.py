from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from biomedica_kedro.archive.correction import Corrector, panels_in
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.panel_corrections import check_within


def test_file_of_somebody_else_that_cannot_be_read_is_named_beside_the_detected_panels(tmp_path: Path):
    folder = tmp_path / "01_raw" / "panel_corrections"
    folder.mkdir(parents=True)
    (folder / "ada.csv").write_text("expert,time,key,left,top,right,bottom,letter\nAda,today,K1,0,0,9,9,A\n")
    images = SimpleNamespace(panels=lambda batch, key: [(Box(0, 0, 40, 30), "A")])

    cells, wrong = Corrector(tmp_path, images, 100).cells({"key": "K1", "batch": "b0"})

    assert cells == [[0, 0, 30, 40, "A"]]
    assert "corrections file ada.csv, line 2" in wrong


def test_box_that_leaves_the_image_is_refused_and_named():
    panels = panels_in([[0, 0, 100, 80, "A"], [90, 0, 20, 80, "B"]])
    check_within(panels, 110, 80)
    with pytest.raises(BallotError, match=r"panel 2 ends at \(110, 80\), the image at \(100, 80\)"):
        check_within(panels, 100, 80)
