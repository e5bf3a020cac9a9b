from pathlib import Path

import pytest

from biomedica_kedro.labels.__main__ import main
from biomedica_kedro.labels.ballots import read_votes
from biomedica_kedro.labels.page import told_answers, told_progress
from biomedica_kedro.labels.session import LabelingSession, disagreements
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


OTHER = {**ANSWERS, Question.PRIMARY_LABELS: ["Tables"]}


def test_own_earlier_answers_are_known_and_the_later_one_counts(session: LabelingSession):
    session.take("Ada", 0, ANSWERS)
    session.take("Ada", 0, OTHER)
    session.take("Bob", 0, ANSWERS)

    assert session.answers_of(" Ada ", 0) == {Question.PANEL_TYPE: ("single",), Question.PRIMARY_LABELS: ("Tables",)}
    assert session.answers_of("Ada", 1) == {}


def test_undo_takes_back_the_last_vote_and_the_earlier_one_counts_again(session: LabelingSession):
    session.take("Ada", 1, ANSWERS)
    session.take("Ada", 0, ANSWERS)
    session.take("Ada", 0, OTHER)

    assert session.undo("Ada") == 0
    assert session.answers_of("Ada", 0)[Question.PRIMARY_LABELS] == ("Maps",)
    assert (session.undo("Ada"), session.labeled_by("Ada")) == (0, {1})
    assert (session.undo("Ada"), session.undo("Ada"), session.undo("Bob")) == (1, None, None)


def test_skipped_clusters_come_last(session: LabelingSession):
    assert session.next_for("Ada", {1}) == 0
    assert session.next_for("Ada", {0, 1}) == 1


def test_undecided_clusters_come_first_when_asked_for(session: LabelingSession):
    session.ambiguity = {0: 0.9, 1: 0.3}

    assert session.next_for("Ada") == 0


def test_progress_counts_images_of_clusters_with_votes(session: LabelingSession):
    session.take("Ada", 0, ANSWERS)

    progress = session.progress("Bob")

    assert (progress.done, progress.voted, progress.images_voted, progress.images) == (0, 1, 20, 50)
    assert "20 of 50 images (40%)" in told_progress(progress)


def test_first_vote_of_a_person_is_told_where_simulated_votes_count(session: LabelingSession, tmp_path: Path):
    session.simulated = tmp_path / "simulated.csv"
    assert not session.is_first_vote()
    session.simulated.touch()
    assert session.is_first_vote()

    session.take("Ada", 0, ANSWERS)

    assert not session.is_first_vote()


def test_adjudicator_sees_who_said_what_and_where_they_differ(session: LabelingSession):
    session.take("Ada", 0, ANSWERS)
    session.take("Bob", 0, OTHER)
    session.take("Bob", 1, ANSWERS)

    assert session.disputed() == [0]
    assert disagreements(session.answers_about(0)) == {Question.PRIMARY_LABELS}
    assert told_answers(session.answers_about(0)).splitlines() == [
        "| question | Ada | Bob |",
        "| --- | --- | --- |",
        "| panel type | single | single |",
        "| panel subtype | – | – |",
        "| ⚠ primary labels | Maps | Tables |",
        "| secondary labels | – | – |",
    ]
