"""How good the labels of the default run are, as MLflow shows it: the classes of the embedded corpus are known."""

from __future__ import annotations

import sqlite3

import pytest

CLASSES = 20


@pytest.fixture(scope="module")
def quality(finished) -> dict[str, float]:
    project, _ = finished
    database = sqlite3.connect(f"file:{project.path / 'data' / 'mlflow.db'}?mode=ro", uri=True)
    rows = database.execute("select key, value from metrics where key like 'annotation_quality/%'").fetchall()
    return {key.partition("/")[2]: value for key, value in rows}


@pytest.mark.parametrize(
    "number",
    [
        "single_panel/cluster_purity",
        "single_panel/primary_accuracy",
        "single_panel/secondary_accuracy",
        "single_panel_not_voted_on/primary_accuracy",
        "single_panel_not_voted_on/secondary_accuracy",
    ],
)
def test_labels_of_single_panels_are_right_with_about_ten_clusters_a_class(quality, number):
    assert 5 * CLASSES <= quality["clusters/total"] <= 15 * CLASSES
    assert min(quality["single_panel/images"], quality["single_panel_not_voted_on/images"]) > 500
    assert quality[number] >= 0.85


def test_panel_types_are_right_image_by_image(quality):
    assert quality["panel_type/accuracy"] >= 0.95
    assert quality["panel_type/detector/accuracy"] >= 0.95
