import numpy as np
import pyarrow as pa

from biomedica_kedro.labels.propagation import PropagateOptions, label_images, learn_probe
from biomedica_kedro.labels.votes import CLUSTER_LABELS

LABELS = pa.Table.from_pylist(
    [
        {"cluster_id": 0, "panel_type": "single", "panel_subtype": "single panel", "primary_labels": ["Maps"],
         "secondary_labels": ["map"], "agreement": 1.0},
        {"cluster_id": 1, "panel_type": "single", "panel_subtype": "single panel", "primary_labels": ["Tables"],
         "secondary_labels": ["table"], "agreement": 1.0},
        {"cluster_id": 2, "panel_type": None, "panel_subtype": None, "primary_labels": [], "secondary_labels": [],
         "agreement": None},
    ],
    schema=CLUSTER_LABELS,
)  # fmt: skip
RADII = np.array([1.0, 1.0, 1.0], dtype=np.float32)


def assignment(cluster: int, distance: float, second: int, second_distance: float) -> pa.Table:
    return pa.table(
        {
            "key": ["k"],
            "cluster_id": pa.array([cluster], pa.int32()),
            "distance": pa.array([distance], pa.float32()),
            "second_distance": pa.array([second_distance], pa.float32()),
            "second_cluster_id": pa.array([second], pa.int32()),
        }
    )


def label(*place: float, panels: pa.Table | None = None, **options) -> dict:
    table = label_images(assignment(*place), LABELS, RADII, PropagateOptions(**options), panels)
    return table.to_pylist()[0]


def test_image_near_its_centroid_takes_the_clusters_labels():
    row = label(0, 0.5, 1, 5.0)

    assert row["primary_labels"] == ["Maps"] and row["secondary_labels"] == ["map"]
    assert row["confidence"] > 0.99


def test_image_between_two_concepts_is_unlabeled():
    row = label(0, 0.99, 1, 1.0, min_confidence=0.6)

    assert row["primary_labels"] == ["unlabeled"] and row["secondary_labels"] == []
    assert row["confidence"] < 0.6


def test_between_two_clusters_of_one_concept_there_is_no_doubt():
    same = LABELS.slice(0, 1).to_pylist()[0] | {"cluster_id": 1}
    labels = pa.Table.from_pylist([LABELS.to_pylist()[0], same], schema=CLUSTER_LABELS)

    table = label_images(assignment(0, 0.99, 1, 1.0), labels, RADII, PropagateOptions())

    assert table["confidence"].to_pylist() == [1.0]


def test_image_far_from_everything_is_unlabeled():
    assert label(0, 4.0, 1, 40.0)["primary_labels"] == ["unlabeled"]


def test_image_of_a_cluster_without_votes_is_unlabeled_with_no_confidence():
    row = label(2, 0.1, 0, 5.0)

    assert row["primary_labels"] == ["unlabeled"] and row["confidence"] == 0.0 and row["panel_type"] is None


def panels(is_multiple: bool, score: float) -> pa.Table:
    return pa.table({"key": ["k"], "is_multiple": [is_multiple], "score": [score]})


def test_confident_panel_detector_overrules_the_cluster():
    row = label(0, 0.5, 1, 5.0, panels=panels(True, 0.95))

    assert (row["panel_type"], row["panel_subtype"]) == ("multiple", None)


def test_unsure_panel_detector_does_not():
    row = label(0, 0.5, 1, 5.0, panels=panels(True, 0.6))

    assert (row["panel_type"], row["panel_subtype"]) == ("single", "single panel")


def test_panel_detector_speaks_where_nobody_voted():
    assert label(2, 0.1, 0, 5.0, panels=panels(False, 0.55))["panel_subtype"] == "single panel"


TABLES = (("Tables",), ("table",))


def probed(*place: float, score: float) -> dict:
    found = [(TABLES, score)]
    return label_images(assignment(*place), LABELS, RADII, PropagateOptions(), None, found).to_pylist()[0]


def test_sure_probe_overrules_the_cluster_and_gives_its_score_as_confidence():
    row = probed(0, 0.9, 1, 1.0, score=0.9)

    assert (row["primary_labels"], row["secondary_labels"]) == (["Tables"], ["table"])
    assert abs(row["confidence"] - 0.9) < 1e-6


def test_unsure_probe_leaves_the_labels_of_the_cluster():
    assert probed(0, 0.5, 1, 5.0, score=0.6)["primary_labels"] == ["Maps"]


def test_probe_counts_for_less_far_from_every_cluster():
    assert probed(0, 4.0, 1, 40.0, score=0.99)["primary_labels"] == ["unlabeled"]


def test_probe_learns_from_so_many_confident_images_of_each_set_and_reads_no_further():
    read = []

    def batches():
        for n in range(5):
            read.append(n)
            yield (
                pa.concat_tables([assignment(0, 0.5, 1, 5.0), assignment(1, 0.5, 0, 5.0), assignment(0, 9.0, 1, 9.0)]),
                np.array([[n, 0], [0, n], [50, 50]], dtype=np.float32),
            )

    probe = learn_probe(batches(), LABELS, RADII, PropagateOptions(probe_images=2))

    assert read == [0, 1]
    assert [label for label, _ in probe.read(np.array([[9, 0], [0, 9]], np.float32))] == [
        (("Maps",), ("map",)),
        TABLES,
    ]


def test_no_probe_is_made_unless_asked_for():
    assert learn_probe(iter([None]), LABELS, RADII, PropagateOptions()).labels == ()
