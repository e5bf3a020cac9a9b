from __future__ import annotations

import pytest

from biomedica_kedro.archive.correction import check_within, panels_in
from biomedica_kedro.labels.ballots import BallotError


def test_box_that_leaves_the_image_is_refused_and_named():
    panels = panels_in([[0, 0, 100, 80, "A"], [90, 0, 20, 80, "B"]])
    check_within(panels, 110, 80)
    with pytest.raises(BallotError, match=r"panel 2 ends at \(110, 80\), the image at \(100, 80\)"):
        check_within(panels, 100, 80)
