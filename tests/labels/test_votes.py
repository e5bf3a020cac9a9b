import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.labels.agreement import measure_agreement
from biomedica_kedro.labels.votes import Status, VoteOptions, resolve_votes, votes_on_clusters
from biomedica_kedro.taxonomy import Question, TaxonomyError, load_taxonomy

TAXONOMY = load_taxonomy()
CLUSTER_OF = {"a": 0, "b": 0, "c": 1}


def vote(expert: str, question: str, *answers: str, keys: str = "ab") -> dict:
    return {"expert": expert, "keys": list(keys), "question": question, "answers": list(answers)}


def resolve(*votes: dict, **options):
    found = votes_on_clusters(votes, CLUSTER_OF, TAXONOMY)
    return resolve_votes(found, [0, 1], TAXONOMY, VoteOptions(**options))


def test_majority_names_the_cluster_the_images_lie_in():
    labels, other = resolve(
        vote("x", "primary_labels", "Maps"), vote("y", "primary_labels", "Maps"), vote("z", "primary_labels", "Tables")
    )

    assert (labels.status, labels.primary_labels, labels.agreement) == (Status.LABELED, ["Maps"], 0.6667)
    assert (other.status, other.primary_labels, other.agreement) == (Status.NO_VOTES, [], None)


def test_tie_is_reported_and_left_unlabeled():
    labels, _ = resolve(vote("x", "primary_labels", "Maps"), vote("y", "primary_labels", "Tables"))

    assert labels.status is Status.TIE
    assert labels.primary_labels == []
    assert labels.notes == ["primary_labels: tie between Maps, Tables"]


def test_too_little_agreement_is_reported():
    answers = ["Maps", "Maps", "Tables", "PCR"]
    labels, _ = resolve(*(vote(str(i), "primary_labels", a) for i, a in enumerate(answers)), min_agreement=0.6)

    assert labels.status is Status.DISAGREEMENT


def test_too_few_experts_leave_a_cluster_without_labels():
    assert resolve(vote("x", "primary_labels", "Maps"), min_experts=2)[0].status is Status.NO_VOTES


def test_single_and_compound_subtype_cannot_come_together():
    labels, _ = resolve(
        *(vote(expert, "panel_type", "multiple") for expert in "xyz"),
        *(vote(expert, "panel_subtype", "single panel") for expert in "xyz"),
    )

    assert (labels.panel_type, labels.panel_subtype) == ("multiple", None)
    assert "panel subtype 'single panel' contradicts panel type 'multiple'" in labels.notes


def test_local_concept_needs_its_global_concept():
    labels, _ = resolve(vote("x", "primary_labels", "Maps"), vote("x", "secondary_labels", "bar plot", "map"))

    assert labels.secondary_labels == ["map"]
    assert "local concept 'bar plot' needs the global concept 'Plots and Charts'" in labels.notes


def test_cluster_may_carry_several_global_concepts():
    labels, _ = resolve(vote("x", "primary_labels", "Maps", "Tables"), vote("y", "primary_labels", "Maps", "Tables"))

    assert labels.primary_labels == ["Maps", "Tables"]


def test_expert_who_contradicts_oneself_in_equal_parts_abstains():
    labels, _ = resolve(
        vote("x", "primary_labels", "Maps", keys="a"),
        vote("x", "primary_labels", "Tables", keys="b"),
        vote("y", "primary_labels", "PCR"),
    )

    assert labels.primary_labels == ["PCR"]


def test_votes_follow_their_images_into_another_clustering():
    votes = [vote("x", "primary_labels", "Maps", keys="ab")]

    found = votes_on_clusters(votes, {"a": 7, "b": 9}, TAXONOMY)

    assert [v.cluster_id for v in found] == [7, 9]


def test_images_without_a_cluster_are_left_out():
    assert votes_on_clusters([vote("x", "primary_labels", "Maps", keys="q")], CLUSTER_OF, TAXONOMY) == []


def test_answer_outside_the_taxonomy_is_an_error_with_the_close_match():
    with pytest.raises(TaxonomyError, match="did you mean 'Microscopy'"):
        resolve(vote("x", "primary_labels", "Microscopi"))


answers = {question: st.sampled_from(TAXONOMY.answers(question)) for question in Question}
any_votes = st.lists(
    st.one_of(
        *(
            st.builds(
                lambda expert, chosen, q=question: vote(expert, q.value, *chosen),
                st.sampled_from("uvwxyz"),
                st.lists(answers[question], min_size=1, max_size=3 if "labels" in question else 1, unique=True),
            )
            for question in Question
        )
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=150)
@given(any_votes, st.floats(0.1, 1.0))
def test_no_votes_whatever_give_contradictory_labels(votes, min_agreement):
    for labels in resolve(*votes, min_agreement=min_agreement):
        if labels.panel_subtype is not None:
            assert TAXONOMY.panel_type_of[labels.panel_subtype] == labels.panel_type
        assert {TAXONOMY.parents[label] for label in labels.secondary_labels} <= set(labels.primary_labels)
        assert (labels.status is Status.LABELED) == bool(labels.primary_labels)


def test_full_agreement_and_chance_are_told_apart():
    votes = [
        vote(expert, "primary_labels", "Maps" if cluster % 2 else "Tables", keys=[str(cluster)])
        for cluster in range(6)
        for expert in "xyz"
    ]
    found = votes_on_clusters(votes, {str(i): i for i in range(6)}, TAXONOMY)

    row = next(row for row in measure_agreement(found) if row["question"] == "primary_labels")

    assert (row["clusters"], row["experts"], row["disagreement"]) == (6, 3, 0.0)
    assert row["krippendorff_alpha"] == pytest.approx(1.0) and row["fleiss_kappa"] == pytest.approx(1.0)


def test_agreement_without_votes_says_nothing():
    assert {row["krippendorff_alpha"] for row in measure_agreement([])} == {None}
    assert {row["clusters"] for row in measure_agreement([])} == {0}
