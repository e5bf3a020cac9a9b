from pathlib import Path

import pytest

from biomedica_kedro.labels.ballots import BallotError, append_vote, read_votes

ANSWERS = {"panel_type": ["single"], "primary_labels": ["Maps", "Tables"]}


def test_votes_are_appended_to_a_plain_file_per_expert(tmp_path: Path):
    append_vote(tmp_path, "Dr. Ada", ["a", "b"], ANSWERS)
    append_vote(tmp_path, "Dr. Ada", ["c"], {"panel_type": ["multiple"]})
    append_vote(tmp_path, "Bob", ["a"], {"panel_type": ["single"]})

    votes = read_votes(tmp_path.glob("*.csv")).to_pylist()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["bob.csv", "dr__ada.csv"]
    assert {
        "expert": "Dr. Ada",
        "keys": ["a", "b"],
        "question": "primary_labels",
        "answers": ["Maps", "Tables"],
    } in votes
    assert len(votes) == 4


def test_later_answer_about_the_same_images_replaces_the_earlier(tmp_path: Path):
    append_vote(tmp_path, "Ada", ["a", "b"], {"panel_type": ["single"]})
    append_vote(tmp_path, "Ada", ["b", "a"], {"panel_type": ["multiple"]})

    assert read_votes(tmp_path.glob("*.csv"))["answers"].to_pylist() == [["multiple"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_file_saved_by_a_spreadsheet_is_read(tmp_path: Path, delimiter: str):
    lines = [["expert", "keys", "question", "answers", "remark"], ["Ada", "a|b", "panel_type", "single", "ü"], [""] * 5]
    text = "\r\n".join(delimiter.join(cells) for cells in lines)
    (tmp_path / "sheet.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert read_votes([tmp_path / "sheet.csv"]).to_pylist() == [
        {"expert": "Ada", "keys": ["a", "b"], "question": "panel_type", "answers": ["single"]}
    ]


def test_file_without_the_columns_is_an_error_that_names_them(tmp_path: Path):
    (tmp_path / "x.csv").write_text("expert,key\nAda,a\n")

    with pytest.raises(BallotError, match=r"x\.csv lacks the columns answers, keys, question"):
        read_votes([tmp_path / "x.csv"])


def test_vote_without_a_name_is_refused(tmp_path: Path):
    with pytest.raises(BallotError, match="name of the expert"):
        append_vote(tmp_path, " ", ["a"], ANSWERS)


def test_no_files_are_no_votes():
    assert read_votes([]).num_rows == 0
