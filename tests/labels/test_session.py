from pathlib import Path

import pytest

from biomedica_kedro.labels.__main__ import main
from biomedica_kedro.labels.ballots import read_votes
from biomedica_kedro.labels.session import LabelingSession
from biomedica_kedro.taxonomy import Question, TaxonomyError, load_taxonomy
from tests.labels.small_sheets import write_sheets

ANSWERS = {Question.PANEL_TYPE: ["single"], Question.PRIMARY_LABELS: ["Maps"], Question.SECONDARY_LABELS: []}


@pytest.fixture
def session(tmp_path: Path) -> LabelingSession:
    return LabelingSession.open(write_sheets(tmp_path), tmp_path / "01_raw" / "expert_votes", load_taxonomy())


def test_largest_cluster_comes_first_and_each_expert_has_a_queue(session: LabelingSession):
    assert session.next_for("Ada") == 1

    session.take("Ada", 1, ANSWERS)

    assert (session.next_for("Ada"), session.next_for("Bob")) == (0, 1)
    session.take("Ada", 0, ANSWERS)
    assert session.next_for("Ada") is None


def test_vote_names_the_images_on_the_sheet(session: LabelingSession):
    session.take("Ada", 0, ANSWERS)

    assert {tuple(vote["keys"]) for vote in read_votes(session.votes.glob("*.csv")).to_pylist()} == {("a0", "a1")}


def test_answer_outside_the_taxonomy_is_not_taken_down(session: LabelingSession):
    with pytest.raises(TaxonomyError, match="did you mean 'Maps'"):
        session.take("Ada", 0, {Question.PRIMARY_LABELS: ["Map"]})

    assert not session.votes.exists()


def test_ballot_filled_in_a_spreadsheet_comes_back_as_votes(tmp_path: Path, session: LabelingSession):
    ballot = tmp_path / "ballot.csv"
    main(["--data-root", str(tmp_path), "--ballot", str(ballot), "--expert", "Ada"])
    filled = ballot.read_text(encoding="utf-8-sig").replace("primary_labels,,1", "primary_labels,Maps | Tables,1")
    session.votes.mkdir(parents=True)
    (session.votes / "ballot.csv").write_text(filled, encoding="utf-8-sig")

    votes = read_votes(session.votes.glob("*.csv")).to_pylist()

    assert votes == [
        {"expert": "Ada", "keys": ["b0", "b1"], "question": "primary_labels", "answers": ["Maps", "Tables"]}
    ]


def test_without_sheets_the_command_says_what_to_run(tmp_path: Path):
    with pytest.raises(SystemExit, match="kedro run --pipeline=annotation"):
        main(["--data-root", str(tmp_path)])
