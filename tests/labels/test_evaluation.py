import pyarrow as pa

from biomedica_kedro.labels.evaluation import measure_annotation
from biomedica_kedro.records import IMAGE_LABELS

TRUTH = pa.table(
    {
        "key": list("abcd"),
        "panel_type": ["single"] * 3 + ["multiple"],
        "class_ids": [["mri"], ["mri"], ["map"], ["map", "mri"]],
        "primary_labels": [["Clinical Imaging"]] * 2 + [["Maps"], ["Clinical Imaging", "Maps"]],
        "secondary_labels": [["magnetic resonance"]] * 2 + [["map"], ["magnetic resonance", "map"]],
    }
)


def labels(*primary: str, confidence: float = 0.95) -> pa.Table:
    rows = [
        {"key": key, "cluster_id": 0, "panel_type": "single", "primary_labels": [label], "secondary_labels": [],
         "confidence": confidence}
        for key, label in zip("abcd", primary, strict=True)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=IMAGE_LABELS)


def test_unlabeled_images_count_against_accuracy_but_not_among_the_labeled():
    report = measure_annotation([labels("Clinical Imaging", "unlabeled", "Clinical Imaging", "Maps")], TRUTH, [])

    single = report["single_panel"]
    assert (single["images"], single["cluster_purity"]) == (3, 0.6667)
    assert (single["primary_accuracy"], single["primary_accuracy_of_labeled"]) == (0.3333, 0.5)
    assert report["labeled_share"] == 0.75


def test_images_shown_to_experts_are_counted_apart():
    report = measure_annotation([labels(*["Maps"] * 4)], TRUTH, ["a", "b"])

    assert report["single_panel_not_voted_on"]["images"] == 1
    assert report["single_panel_not_voted_on"]["primary_accuracy"] == 1.0


def test_panel_detector_is_measured():
    panels = pa.table({"key": list("abcd"), "is_multiple": [False, True, False, True], "n_panels": [1, 2, 1, 2]})

    detector = measure_annotation([labels(*["Maps"] * 4)], TRUTH, [], [panels])["panel_type"]["detector"]

    assert (detector["accuracy"], detector["precision"], detector["recall"]) == (0.75, 0.5, 1.0)
    assert detector["right_number_of_panels"] == 1.0


def test_without_known_classes_only_counts_are_reported():
    report = measure_annotation([labels(*["Maps"] * 4)], TRUTH.slice(0, 0), [])

    assert report == {"images": 4, "labeled": 4, "labeled_share": 1.0}


def test_batches_and_images_of_unknown_class_are_counted():
    unknown = labels("Maps", "unlabeled", "Maps", "Maps").set_column(0, "key", pa.array(list("wxyz")))

    report = measure_annotation([labels(*["Maps"] * 4), unknown, unknown.slice(0, 0)], TRUTH, [])

    assert (report["images"], report["labeled"]) == (8, 7)
    assert report["single_panel"]["images"] == 3
