from datetime import UTC, datetime

import pytest

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.panel_corrections import append_correction, panels_of, read_corrections

LEFT, RIGHT = (Box(0, 0, 90, 100), "A"), (Box(2, 100, 90, 200), "B")
HEADER = "expert,time,key,left,top,right,bottom,letter\n"


def at(minute: int) -> datetime:
    return datetime(2026, 1, 31, 12, minute, tzinfo=UTC)


def test_correction_is_read_as_it_was_made(tmp_path):
    path = append_correction(tmp_path / "new", "Ada L.", "PMC1_f1.jpg", [RIGHT, LEFT], at(0))

    rows = read_corrections([path]).to_pylist()

    assert path.name == "ada_l_.csv"
    assert {(row["expert"], row["key"]) for row in rows} == {("Ada L.", "PMC1_f1.jpg")}
    assert panels_of(rows) == [LEFT, RIGHT]


def test_latest_correction_of_an_image_counts_whoever_made_it(tmp_path):
    append_correction(tmp_path, "Ada", "k", [LEFT, RIGHT], at(5))
    append_correction(tmp_path, "Ada", "k", [LEFT], at(7))
    append_correction(tmp_path, "Bo", "k", [RIGHT, LEFT], at(6))
    append_correction(tmp_path, "Bo", "other", [RIGHT], at(1))

    rows = read_corrections(tmp_path.glob("*.csv")).to_pylist()

    assert [(row["key"], row["expert"], row["letter"]) for row in rows] == [("k", "Ada", "A"), ("other", "Bo", "B")]


def test_corrections_of_a_spreadsheet_are_read(tmp_path):
    path = tmp_path / "ada.csv"
    path.write_text("\ufeff" + HEADER.replace(",", ";") + "Ada;2026-01-31T12:00:00Z;k;0;0;9;9;\n", encoding="utf-8")

    assert panels_of(read_corrections([path]).to_pylist()) == [(Box(0, 0, 9, 9), "")]


@pytest.mark.parametrize(
    ("expert", "panels", "said"),
    [
        (" ", [LEFT], "name"),
        ("Ada", [], "image k: no panel is left"),
        ("Ada", [LEFT, (Box(5, 9, 8, 9), "B")], r"image k, panel 2: the box from \(9, 5\) to \(9, 8\)"),
    ],
    ids=["no name", "no panel", "empty box"],
)
def test_what_says_nothing_is_not_saved(tmp_path, expert, panels, said):
    with pytest.raises(BallotError, match=said):
        append_correction(tmp_path, expert, "k", panels, at(0))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "Ada,2026-01-31T12:00:00Z,k,0,0,nine,9,A",
        "Ada,2026-01-31T12:00:00,k,0,0,9,9,A",
        "Ada,2026-01-31T12:00:00Z,,0,0,9,9,A",
        "Ada,2026-01-31T12:00:00Z,k,-1,0,9,9,A",
    ],
    ids=["no number", "no zone", "no image", "outside"],
)
def test_line_that_cannot_be_used_is_named(tmp_path, line):
    path = tmp_path / "ada.csv"
    path.write_text(f"{HEADER}{line}\n")

    with pytest.raises(BallotError, match=r"ada\.csv, line 2"):
        read_corrections([path])
