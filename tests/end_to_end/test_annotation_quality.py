"""How good the labels of the default run are, as MLflow shows it; the plots and sheets that kedro-viz shows."""

from __future__ import annotations

import base64
import io
import sqlite3

import pytest
from PIL import Image

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


@pytest.mark.parametrize("name", ["annotation_plots", "image_map"])
def test_kedro_viz_can_preview_the_plots(finished, name):
    from kedro_datasets.plotly import JSONDataset

    project, _ = finished
    figure = JSONDataset(filepath=str(project.path / "data" / "08_reporting" / f"{name}.json")).preview()

    assert figure["data"]
    assert figure["layout"]["title"]["text"]


def test_kedro_viz_can_preview_a_contact_sheet(finished):
    from kedro_datasets.matplotlib import MatplotlibDataset

    project, _ = finished
    sheet = MatplotlibDataset(filepath=str(project.path / "data" / "08_reporting" / "contact_sheet.png")).preview()

    assert Image.open(io.BytesIO(base64.b64decode(sheet))).width > 500
